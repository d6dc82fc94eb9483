{{/* Deployment, autoscaler and disruption budget of one class of workers.
     (root, component, name, container, values, image, account, token, workerClass, secrets; labels, runtimeClassName, seccompProfile) */}}
{{- define "toolorchestra.worker" -}}
{{- $context := merge (dict "spread" true) . }}
{{- $own := dict "TOOLORCHESTRA_WORKER_CLASS" .workerClass "TOOLORCHESTRA_CONCURRENCY" .values.concurrency "TOOLORCHESTRA_DRAIN_MS" (mul .values.drainSeconds 1000 | toString) "TOOLORCHESTRA_READY_FILE" "/tmp/ready" "TOOLORCHESTRA_LIVENESS_FILE" "/tmp/alive" }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "toolorchestra.metadata" . | nindent 2 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "toolorchestra.selector" . | nindent 6 }}
      {{- with .labels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  template:
    metadata:
      {{- include "toolorchestra.podMetadata" (merge (dict "annotations" (include "toolorchestra.checksum" .root | fromYaml)) .) | nindent 6 }}
    spec:
      {{- include "toolorchestra.pod" $context | nindent 6 }}
      {{- with .runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      {{- with .hostAliases }}
      hostAliases:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      serviceAccountName: {{ include "toolorchestra.serviceAccountName" (dict "root" .root "component" .component "account" .account) }}
      automountServiceAccountToken: {{ .token }}
      terminationGracePeriodSeconds: {{ add .values.drainSeconds 10 }}
      initContainers:
        {{- include "toolorchestra.awaitSchema" . | nindent 8 }}
      containers:
        - name: worker
          {{- .image | nindent 10 }}
          command: [python, -m, toolorchestra.worker]
          {{- include "toolorchestra.environment" (dict "root" .root "values" .values "own" $own) | nindent 10 }}
          # Ready: it takes calls. Alive: it did some work within the last minute, be it a task that it sent itself.
          startupProbe:
            exec: {command: [test, -f, /tmp/ready]}
            periodSeconds: 2
            failureThreshold: 90
          readinessProbe:
            exec: {command: [test, -f, /tmp/ready]}
            periodSeconds: 10
          livenessProbe:
            exec: {command: [sh, -c, 'test -n "$(find /tmp/alive -mmin -1)"']}
            initialDelaySeconds: 60
            periodSeconds: 20
            failureThreshold: 6
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "toolorchestra.containerSecurity" . | nindent 10 }}
          volumeMounts:
            {{- include "toolorchestra.mounts" . | nindent 12 }}
      volumes:
        {{- include "toolorchestra.volumes" . | nindent 8 }}
{{ include "toolorchestra.scaling" . }}
{{- end }}
