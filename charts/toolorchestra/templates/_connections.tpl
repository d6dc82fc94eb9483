{{/* Which Secret and key hold a URL or the pepper, as JSON {name, key}; nothing when there is none. (root, what) */}}
{{- define "toolorchestra.secretRef" -}}
{{- $values := .root.Values }}
{{- $own := printf "%s-connections" (include "toolorchestra.fullname" .root) }}
{{- $given := dict "database" $values.database "owner" $values.database.owner "broker" $values.broker "signals" $values.signals }}
{{- $embedded := dict "database" $values.evaluation.postgres.enabled "owner" (and $values.evaluation.postgres.enabled (not (include "toolorchestra.external" (dict "given" $values.database)))) "broker" $values.evaluation.valkey.enabled "signals" $values.evaluation.valkey.enabled }}
{{- if eq .what "pepper" }}
  {{- toJson (dict "name" ($values.keyPepper.existingSecret | default (printf "%s-key-pepper" (include "toolorchestra.fullname" .root))) "key" $values.keyPepper.key) }}
{{- else }}
  {{- $source := get $given .what }}
  {{- if $source.existingSecret }}
    {{- toJson (dict "name" $source.existingSecret "key" $source.urlKey) }}
  {{- else if $source.url }}
    {{- toJson (dict "name" $own "key" (printf "%s-url" .what)) }}
  {{- else if and (eq .what "signals") (include "toolorchestra.external" (dict "given" $values.broker)) }}
    {{- include "toolorchestra.secretRef" (dict "root" .root "what" "broker") }}
  {{- else if get $embedded .what }}
    {{- toJson (dict "name" $own "key" (printf "%s-url" .what)) }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Whether a connection is named by the values. (given) */}}
{{- define "toolorchestra.external" -}}
{{- if or .given.existingSecret .given.url }}yes{{ end }}
{{- end }}

{{/* Whether the chart's own database or broker is used: enabled, and no other is named. */}}
{{- define "toolorchestra.ownPostgres" -}}
{{- if and .Values.evaluation.postgres.enabled (not (include "toolorchestra.external" (dict "given" .Values.database))) }}yes{{ end }}
{{- end }}
{{- define "toolorchestra.ownValkey" -}}
{{- if and .Values.evaluation.valkey.enabled (not (include "toolorchestra.external" (dict "given" .Values.broker))) }}yes{{ end }}
{{- end }}

{{/* One source of the folder of secrets: the file is named as the setting. (root, what) */}}
{{- define "toolorchestra.secretSource" -}}
{{- $files := dict "database" "TOOLORCHESTRA_DATABASE_URL" "owner" "TOOLORCHESTRA_OWNER_URL" "broker" "TOOLORCHESTRA_BROKER_URL" "signals" "TOOLORCHESTRA_SIGNAL_URL" "pepper" "key-pepper" }}
{{- with include "toolorchestra.secretRef" . }}
{{- $ref := fromJson . }}
- secret:
    name: {{ $ref.name }}
    items:
      - key: {{ $ref.key }}
        path: {{ get $files $.what }}
{{- end }}
{{- end }}


{{/* A random text that stays what it is in the cluster. (kept: the Secret's data, key) */}}
{{- define "toolorchestra.keptOrDrawn" -}}
{{- $kept := get (.kept | default dict) .key }}
{{- if $kept }}{{ b64dec $kept }}{{ else }}{{ randAlphaNum 40 }}{{ end }}
{{- end }}

{{/* The default budget as JSON. */}}
{{- define "toolorchestra.defaultBudget" -}}
{{- if kindIs "invalid" .Values.defaultBudget }}
{{- if eq .Values.profile "production" }}{{ toJson (dict "limits" (dict "total" "0")) }}{{ else }}{{ toJson (dict "limits" (dict "day" "1")) }}{{ end }}
{{- else }}{{ toJson .Values.defaultBudget }}
{{- end }}
{{- end }}

{{/* The environment that all services share. Services leave alone what belongs to another. */}}
{{- define "toolorchestra.config" -}}
{{- $name := include "toolorchestra.fullname" . }}
TOOLORCHESTRA_REGISTRY: cluster
TOOLORCHESTRA_AUTHORITY: kubernetes
TOOLORCHESTRA_WATCH_NAMESPACES: {{ toJson .Values.watchNamespaces | quote }}
TOOLORCHESTRA_SECRET_READERS: {{ include "toolorchestra.secretReaders" . | quote }}
TOOLORCHESTRA_DEFAULT_BUDGET: {{ include "toolorchestra.defaultBudget" . | quote }}
TOOLORCHESTRA_EGRESS_ALLOW: {{ toJson .Values.egress.allow | quote }}
TOOLORCHESTRA_LOG__LEVEL: {{ .Values.log.level }}
TOOLORCHESTRA_LOG__FORMAT: {{ .Values.log.format }}
TOOLORCHESTRA_TELEMETRY__SAMPLE_RATIO: {{ .Values.telemetry.sampleRatio | quote }}
{{- with .Values.telemetry.otlpEndpoint }}
TOOLORCHESTRA_TELEMETRY__OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Who reads the Secrets of tenants: the accounts that a tenant binds, as JSON. */}}
{{- define "toolorchestra.secretReaders" -}}
{{- $accounts := list (include "toolorchestra.serviceAccountName" (dict "root" . "component" "orchestrator" "account" .Values.orchestrator.serviceAccount)) (include "toolorchestra.serviceAccountName" (dict "root" . "component" "worker" "account" .Values.workerServiceAccount)) }}
{{- if .Values.operator.enabled }}
{{- $accounts = append $accounts (include "toolorchestra.serviceAccountName" (dict "root" . "component" "operator" "account" .Values.operator.serviceAccount)) }}
{{- end }}
{{- $readers := list }}
{{- range $accounts }}{{ $readers = append $readers (printf "%s:%s" $.Release.Namespace .) }}{{ end }}
{{- toJson $readers }}
{{- end }}
