{{- define "heliotrope.labels" -}}
app.kubernetes.io/name: heliotrope
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "heliotrope.image" -}}
{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}-{{ .target }}
{{- end }}

{{- define "heliotrope.claim" -}}
{{ .Values.state.existingClaim | default (printf "%s-state" .Release.Name) }}
{{- end }}

{{- define "heliotrope.modelServers" -}}
{{- $own := ternary (list (printf "http://%s-vllm:8000/v1" .Release.Name)) (list) .Values.vllm.enabled }}
{{- $urls := .Values.modelServerUrls | default $own }}
{{- required "modelServerUrls: name a model server, or enable vllm" (join "," $urls) }}
{{- end }}

{{/* The database of a role, by reference: its own URL, or the one that all share. */}}
{{- define "heliotrope.database" -}}
{{- $key := ternary (printf "HELIOTROPE_DATABASE_URL_%s" (upper .role)) "HELIOTROPE_DATABASE_URL" .root.Values.databaseRoles }}
- name: HELIOTROPE_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .root.Values.existingSecret }}, key: {{ $key }}}}
{{- end }}

{{/* Who a process is to Kafka: its own user with the password of its own, or the one that all share. */}}
{{- define "heliotrope.kafkaUser" -}}
{{- if hasPrefix "SASL" .root.Values.kafka.securityProtocol }}
{{- $own := and .root.Values.kafka.userPerService (ne .role "migrator") }}
{{- $shared := required "kafka.saslUsername is needed with SASL" .root.Values.kafka.saslUsername }}
- {name: HELIOTROPE_KAFKA_SASL_USERNAME, value: {{ ternary (printf "%s%s" .root.Values.kafka.userPrefix .role) $shared $own | quote }}}
- name: HELIOTROPE_KAFKA_SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .root.Values.existingSecret }}
      key: {{ ternary (printf "HELIOTROPE_KAFKA_SASL_PASSWORD_%s" (upper .role)) "HELIOTROPE_KAFKA_SASL_PASSWORD" $own }}
{{- end }}
{{- end }}

{{/* The environment of every process: settings as values. */}}
{{- define "heliotrope.environment" -}}
- {name: HELIOTROPE_FAMILY, value: {{ .Values.family | quote }}}
- {name: HELIOTROPE_BIND_HOST, value: 0.0.0.0}
- {name: HELIOTROPE_HOME, value: /var/lib/heliotrope}
- {name: HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS, value: {{ .Values.kafka.bootstrapServers | quote }}}
- {name: HELIOTROPE_KAFKA_SECURITY_PROTOCOL, value: {{ .Values.kafka.securityProtocol }}}
{{- if hasPrefix "SASL" .Values.kafka.securityProtocol }}
- {name: HELIOTROPE_KAFKA_SASL_MECHANISM, value: {{ .Values.kafka.saslMechanism }}}
{{- end }}
{{- if .Values.kafka.caSecret }}
- {name: HELIOTROPE_KAFKA_CA_FILE, value: /etc/kafka-ca/ca.crt}
{{- end }}
- {name: HELIOTROPE_MLFLOW_TRACKING_URI, value: {{ .Values.mlflow.trackingUri | quote }}}
- {name: HELIOTROPE_MODEL_SERVER_URLS, value: {{ include "heliotrope.modelServers" . | quote }}}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "heliotrope.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "heliotrope.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The secret that holds the keys that people and services are known by. */}}
{{- define "heliotrope.keys" -}}
{{ ternary (printf "%s-keys" .Release.Name) .Values.existingSecret .Values.apiKeys.generate }}
{{- end }}

{{/* Where artifacts are, for whoever writes or reads them. */}}
{{- define "heliotrope.artifacts" -}}
{{- with .Values.artifacts }}
{{- if .uri }}
- {name: HELIOTROPE_ARTIFACTS_URI, value: {{ .uri | quote }}}
{{- end }}
{{- if .endpointUrl }}
- {name: AWS_ENDPOINT_URL, value: {{ .endpointUrl | quote }}}
{{- end }}
{{- if .credentialsSecret }}
- {name: AWS_SHARED_CREDENTIALS_FILE, value: /etc/objects/credentials}
{{- end }}
{{- end }}
{{- end }}

{{- define "heliotrope.policyTypes" -}}
{{ ternary "[Ingress, Egress]" "[Ingress]" .Values.networkPolicy.egress.enabled }}
{{- end }}

{{/* What each of our pods may reach. */}}
{{- define "heliotrope.egress" -}}
{{- if .Values.networkPolicy.egress.enabled }}
egress:
  - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  - to: [{podSelector: {matchLabels: {app.kubernetes.io/name: heliotrope, app.kubernetes.io/instance: {{ .Release.Name }}}}}]
  - to: {{- toYaml .Values.networkPolicy.egress.to | nindent 6 }}
    ports:
      {{- range .Values.networkPolicy.egress.ports }}
      - {port: {{ . }}}
      {{- end }}
{{- end }}
{{- end }}

{{/* The namespaces in which launchers start pods, joined by commas. */}}
{{- define "heliotrope.launcherNamespaces" -}}
{{- $found := dict }}
{{- range .Values.launchers }}
{{- if has .engine (list "kubernetes" "kubeflow") }}
{{- $_ := set $found (.namespace | default "default") true }}
{{- end }}
{{- end }}
{{- keys $found | sortAlpha | join "," }}
{{- end }}

{{/* The environment of whoever may change everything: the migration job, and commands that people run. */}}
{{- define "heliotrope.migrator" -}}
{{- include "heliotrope.environment" . }}
{{- include "heliotrope.database" (dict "root" . "role" "migrator") }}
{{- include "heliotrope.kafkaUser" (dict "root" . "role" "migrator") }}
- name: HELIOTROPE_USER_HASH_SECRET
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: HELIOTROPE_USER_HASH_SECRET}}
- name: HELIOTROPE_API_KEYS
  valueFrom: {secretKeyRef: {name: {{ include "heliotrope.keys" . }}, key: HELIOTROPE_API_KEYS, optional: true}}
- name: HELIOTROPE_GATEWAY_INTERNAL_KEY
  valueFrom: {secretKeyRef: {name: {{ include "heliotrope.keys" . }}, key: HELIOTROPE_GATEWAY_INTERNAL_KEY, optional: true}}
- name: HELIOTROPE_ROLE_PASSWORDS
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: HELIOTROPE_ROLE_PASSWORDS, optional: true}}
{{- end }}
