{{/* What may reach a component and what it may reach. (root, component; port, from, open, out, more) */}}
{{- define "toolorchestra.edges" -}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "toolorchestra.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "toolorchestra.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- if .port }}
  ingress:
    - ports:
        - port: {{ .port }}
      {{- with .from }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- else }}
      {{- if not .open }}{{ fail (printf "%s: nobody may reach it" .component) }}{{ end }}
      {{- end }}
  {{- end }}
  {{- if or .out .more }}
  egress:
    {{- range .out }}
    {{- include (printf "toolorchestra.to.%s" .) $.root | nindent 4 }}
    {{- end }}
    {{- with .more }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}

{{/* The pods of a component as a peer. (root, component) */}}
{{- define "toolorchestra.peer" -}}
podSelector:
  matchLabels:
    {{- include "toolorchestra.selector" . | nindent 4 }}
{{- end }}

{{- define "toolorchestra.to.dns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "toolorchestra.to.database" -}}
{{- $own := include "toolorchestra.ownPostgres" . }}
- ports:
    - port: {{ ternary 5432 .Values.database.port (not (empty $own)) }}
  {{- if $own }}
  to:
    - {{- include "toolorchestra.peer" (dict "root" . "component" "postgres") | nindent 6 }}
  {{- else }}
  {{- with .Values.networkPolicy.database }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* The broker and, where it is another, the signal channel. */}}
{{- define "toolorchestra.to.broker" -}}
{{- $own := include "toolorchestra.ownValkey" . }}
- ports:
    - port: {{ ternary 6379 .Values.broker.port (not (empty $own)) }}
  {{- if $own }}
  to:
    - {{- include "toolorchestra.peer" (dict "root" . "component" "valkey") | nindent 6 }}
  {{- else }}
  {{- with .Values.networkPolicy.broker }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- if and .Values.signals.enabled (include "toolorchestra.external" (dict "given" .Values.signals)) }}
- ports:
    - port: {{ .Values.signals.port }}
  {{- with .Values.networkPolicy.broker }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "toolorchestra.to.api" -}}
- to:
    - {{- include "toolorchestra.peer" (dict "root" . "component" "orchestrator") | nindent 6 }}
  ports:
    - port: http
{{- end }}

{{/* Tools, models and the API server may be anywhere, and the egress guard checks each address; but no cloud's metadata. */}}
{{- define "toolorchestra.to.anywhere" -}}
- to:
    - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
    - ipBlock: {cidr: "::/0", except: ["fe80::/10", "fd00:ec2::254/128"]}
{{- end }}
