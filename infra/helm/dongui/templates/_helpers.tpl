{{/* Every process of this installation by name: those of the values, one propagator per affiliate, the witness. */}}
{{- define "dongui.processes" -}}
{{- $all := deepCopy .Values.processes -}}
{{- range .Values.affiliates -}}
{{- $one := merge (dict "arguments" (list "--affiliate" .) "affiliate" .) (deepCopy $.Values.propagator) -}}
{{- $_ := set $all (printf "propagator-%s" .) $one -}}
{{- end -}}
{{- if .Values.witness.enabled -}}{{- $_ := set $all "witness" .Values.witness -}}{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{- define "dongui.labels" -}}
app.kubernetes.io/name: dongui
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "dongui.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag }}{{ end }}
{{- end -}}

{{/* No privilege, no new one, nothing written but to what is mounted. */}}
{{- define "dongui.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "dongui.pod-security" -}}
runAsNonRoot: true
runAsUser: {{ .Values.uid }}
runAsGroup: {{ .Values.uid }}
fsGroup: {{ .Values.uid }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* What every process is told. Its API listens on loopback: the proxy beside it speaks TLS with the others. */}}
{{- define "dongui.environment" -}}
- {name: DONGUI_PROFILE, value: production}
- {name: DONGUI_DATA_DIR, value: /data}
- {name: DONGUI_ISSUER, value: {{ .root.Values.issuer | quote }}}
- {name: DONGUI_AUDIENCE, value: {{ .root.Values.audience | quote }}}
- {name: SSL_CERT_FILE, value: /etc/dongui/trust/ca-bundle.pem}
{{- if ne .process.kafka false }}
- {name: DONGUI_KAFKA, value: "{{ .root.Values.kafka.cluster }}-kafka-bootstrap:9093"}
- {name: DONGUI_KAFKA_SECURITY, value: SASL_SSL}
- {name: DONGUI_KAFKA_CA_FILE, value: /etc/dongui/kafka/ca.crt}
- {name: DONGUI_KAFKA_USERNAME, value: {{ .name }}}
- name: DONGUI_KAFKA_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: password}}
{{- end }}
{{- range without (.process.calls | default list) "witness" }}
- {name: {{ printf "DONGUI_%s_URL" (upper .) }}, value: {{ printf "https://%s-%s:8443" $.root.Release.Name . | quote }}}
{{- end }}
{{- if .process.jwks }}
- {name: DONGUI_JWKS_FILE, value: /etc/dongui/jwks/jwks.json}
{{- end }}
{{- if .process.port }}
- {name: DONGUI_TRUSTED_PROXIES, value: {{ prepend .root.Values.network.gatewayRanges "127.0.0.1" | toJson | quote }}}
{{- else if ne .name "setup" }}
- {name: DONGUI_HEALTH_HOST, value: 0.0.0.0}
- {name: DONGUI_HEALTH_PORT, value: "8810"}
{{- end }}
{{- range $variable, $value := .process.config }}
- {name: {{ $variable }}, value: {{ tpl $value $.root | quote }}}
{{- end }}
{{- range $variable, $key := .process.files }}
- {name: {{ $variable }}, value: /etc/dongui/secrets/{{ $key }}}
{{- end }}
{{- range .process.secrets }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $.root.Release.Name }}-{{ $.name }}, key: {{ . }}}}
{{- end }}
{{- end -}}

{{- define "dongui.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: trust, mountPath: /etc/dongui/trust, readOnly: true}
{{- if ne .process.kafka false }}
- {name: kafka-ca, mountPath: /etc/dongui/kafka, readOnly: true}
{{- end }}
{{- if .process.jwks }}
- {name: jwks, mountPath: /etc/dongui/jwks, readOnly: true}
{{- end }}
{{- if .process.files }}
- {name: secrets, mountPath: /etc/dongui/secrets, readOnly: true}
{{- end }}
{{- range $path, $size := .process.storage }}
- {name: {{ trimPrefix "/" $path }}, mountPath: {{ $path }}}
{{- end }}
{{- if not (hasKey (.process.storage | default dict) "/data") }}
- {name: data, mountPath: /data}
{{- end }}
{{- end -}}

{{- define "dongui.volumes" -}}
- {name: tmp, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
- {name: trust, configMap: {name: {{ .root.Values.tls.bundleConfigMap }}}}
{{- if ne .process.kafka false }}
- {name: kafka-ca, secret: {secretName: {{ .root.Values.kafka.cluster }}-cluster-ca-cert, items: [{key: ca.crt, path: ca.crt}]}}
{{- end }}
{{- if .process.jwks }}
- {name: jwks, configMap: {name: {{ .root.Values.jwksConfigMap }}}}
{{- end }}
{{- if .process.files }}
- name: secrets
  secret:
    secretName: {{ .root.Release.Name }}-{{ .name }}
    defaultMode: 0440
    items:
    {{- range $variable, $key := .process.files }}
    - {key: {{ $key }}, path: {{ $key }}}
    {{- end }}
{{- end }}
{{- if not (hasKey (.process.storage | default dict) "/data") }}
- {name: data, emptyDir: {sizeLimit: 64Mi}}
{{- end }}
{{- if .process.port }}
- {name: proxy, configMap: {name: {{ .root.Release.Name }}-proxy}}
- {name: tls, secret: {secretName: {{ .root.Release.Name }}-{{ .name }}-tls, defaultMode: 0440}}
{{- end }}
{{- end -}}

{{/* Liveness is "restart me", readiness "send me work"; a start may wait for migrations and for Kafka's users. They are
     asked through the proxy where there is one, but it is the process that is started again. */}}
{{- define "dongui.probes" -}}
{{- $port := ternary 8443 8810 (not (empty .process.port)) -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty .process.port)) -}}
startupProbe:
  httpGet: {path: /livez, port: {{ $port }}, scheme: {{ $scheme }}}
  periodSeconds: 3
  failureThreshold: 40
livenessProbe:
  httpGet: {path: /livez, port: {{ $port }}, scheme: {{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: {{ $port }}, scheme: {{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}
