{{/* The rules of a ServiceAccount in what is watched: a ClusterRole, or a Role in each watched namespace.
     (root, component, account, rules) */}}
{{- define "toolorchestra.watching" -}}
{{- $name := printf "%s-%s" (include "toolorchestra.fullname" .root) .component }}
{{- $account := include "toolorchestra.serviceAccountName" . }}
{{- if .root.Values.watchNamespaces }}
{{- range $namespace := .root.Values.watchNamespaces }}
{{ include "toolorchestra.roleAndBinding" (dict "root" $.root "component" $.component "name" $name "account" $account "rules" $.rules "namespace" $namespace) }}
{{- end }}
{{- else }}
{{ include "toolorchestra.roleAndBinding" (dict "root" .root "component" .component "name" $name "account" $account "rules" .rules) }}
{{- end }}
{{- end }}

{{/* (root, component, name, account, rules; namespace) A cluster's roles are named after the namespace of the release too. */}}
{{- define "toolorchestra.roleAndBinding" -}}
{{- $prefix := ternary "" "Cluster" (hasKey . "namespace") }}
{{- $name := ternary .name (printf "%s-%s" .root.Release.Namespace .name) (hasKey . "namespace") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
metadata:
  {{- include "toolorchestra.metadata" (merge (dict "name" $name) .) | nindent 2 }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
metadata:
  {{- include "toolorchestra.metadata" (merge (dict "name" $name) .) | nindent 2 }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $prefix }}Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
