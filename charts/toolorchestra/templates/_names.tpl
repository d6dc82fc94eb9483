{{- define "toolorchestra.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Objects are named <fullname>-<component>; 40 characters leave room for the longest of those. */}}
{{- define "toolorchestra.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What never changes of a component's labels. (root, component) */}}
{{- define "toolorchestra.selector" -}}
app.kubernetes.io/name: {{ include "toolorchestra.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* (root, component) */}}
{{- define "toolorchestra.labels" -}}
{{ include "toolorchestra.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: toolorchestra
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Metadata of an object. (root, component, name; annotations, labels) */}}
{{- define "toolorchestra.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "toolorchestra.fullname" .root) .component) }}
labels:
  {{- include "toolorchestra.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (deepCopy (.annotations | default dict)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A reference to an image: registry, repository, digest or tag. (root, image) */}}
{{- define "toolorchestra.image" -}}
{{- $first := first (splitList "/" .image.repository) }}
{{- $named := and (contains "/" .image.repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}
{{- if and .root.Values.image.registry (not $named) }}{{ trimSuffix "/" .root.Values.image.registry }}/{{ end }}
{{- .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "toolorchestra.platformImage" -}}
image: {{ include "toolorchestra.image" (dict "root" . "image" .Values.image) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* Name of a component's ServiceAccount. (root, component, account) */}}
{{- define "toolorchestra.serviceAccountName" -}}
{{- if .account.create }}{{ .account.name | default (printf "%s-%s" (include "toolorchestra.fullname" .root) .component) }}
{{- else }}{{ required (printf "%s: serviceAccount.name is missing; with create: false it names an existing one" .component) .account.name }}
{{- end }}
{{- end }}

{{/* A ServiceAccount that mounts no token by itself. (root, component, account) */}}
{{- define "toolorchestra.serviceAccount" -}}
{{- if .account.create }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- $name := include "toolorchestra.serviceAccountName" . }}
  {{- include "toolorchestra.metadata" (dict "root" .root "component" .component "name" $name "annotations" .account.annotations) | nindent 2 }}
automountServiceAccountToken: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
