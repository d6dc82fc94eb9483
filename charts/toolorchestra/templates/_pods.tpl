{{/* Labels and annotations of a pod. (root, component, values; labels, annotations) */}}
{{- define "toolorchestra.podMetadata" -}}
labels:
  {{- include "toolorchestra.selector" . | nindent 2 }}
  app.kubernetes.io/part-of: toolorchestra
  {{- with mergeOverwrite (deepCopy .root.Values.commonLabels) (.values.podLabels | default dict) (.labels | default dict) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (.values.podAnnotations | default dict) (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What all pods share: who they are, what they may do and where they run. (root, component, values; user, labels, seccompProfile) */}}
{{- define "toolorchestra.pod" -}}
{{- $user := .user | default 65532 }}
# Variables of services would look like settings: TOOLORCHESTRA_….
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $user }}
  runAsGroup: {{ $user }}
  fsGroup: {{ $user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    {{- toYaml (.seccompProfile | default (dict "type" "RuntimeDefault")) | nindent 4 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else if and .root.Values.topologySpread .spread }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "toolorchestra.selector" . | nindent 8 }}
        {{- with .labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}
{{- end }}

{{- define "toolorchestra.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Environment of a service: the common ConfigMap, where its secrets lie, and its own. (root; env, more) */}}
{{- define "toolorchestra.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "toolorchestra.fullname" .root }}-config
env:
  - name: TOOLORCHESTRA_SECRETS_FOLDER
    value: /etc/toolorchestra/secrets
  {{- range $name, $value := .own }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- with .values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Restarts pods when what the chart itself configures changes. */}}
{{- define "toolorchestra.checksum" -}}
checksum/config: {{ list (include "toolorchestra.config" .) .Values.database .Values.broker .Values.signals .Values.keyPepper | toJson | sha256sum }}
{{- end }}

{{/* The container that waits until the database has the schema. (root, image) */}}
{{- define "toolorchestra.awaitSchema" -}}
- name: schema
  {{- .image | nindent 2 }}
  command: [python, -m, toolorchestra.ledger, check, --wait, {{ .root.Values.migration.waitSeconds | quote }}]
  {{- include "toolorchestra.environment" (dict "root" .root "values" dict) | nindent 2 }}
  resources:
    {{- toYaml .root.Values.migration.resources | nindent 4 }}
  {{- include "toolorchestra.containerSecurity" . | nindent 2 }}
  volumeMounts:
    {{- include "toolorchestra.mounts" . | nindent 4 }}
{{- end }}

{{- define "toolorchestra.mounts" -}}
- name: secrets
  mountPath: /etc/toolorchestra/secrets
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- end }}

{{/* (root, secrets; tmpSize) */}}
{{- define "toolorchestra.volumes" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range .secrets }}
      {{- with include "toolorchestra.secretSource" (dict "root" $.root "what" .) }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: {{ .tmpSize | default "256Mi" }}
{{- end }}

{{/* A HorizontalPodAutoscaler and a PodDisruptionBudget for a Deployment. (root, component, name, values; labels) */}}
{{- define "toolorchestra.scaling" -}}
{{- if .values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "toolorchestra.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ .name }}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .values.autoscaling.targetCPUUtilizationPercentage }}
{{- end }}
{{- if .values.podDisruptionBudget }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "toolorchestra.metadata" . | nindent 2 }}
spec:
  # Not minAvailable: with one replica that would block every drain of a node.
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "toolorchestra.selector" . | nindent 6 }}
      {{- with .labels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end }}
{{- end }}
