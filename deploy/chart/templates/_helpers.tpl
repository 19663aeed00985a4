{{- define "pollect.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "pollect.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pollect.labels" -}}
{{ include "pollect.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The config, with the shard of each pod added in mode fleet. */}}
{{- define "pollect.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if and (eq .Values.mode "fleet") (not (hasKey $config "fleet")) -}}
{{- $shard := dict "index" "${POD_NAME}" "count" (int .Values.replicas) -}}
{{- $config = set $config "fleet" (dict "shard" $shard) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The pod of both modes. */}}
{{- define "pollect.pod" -}}
{{- $node := eq .Values.mode "node" -}}
metadata:
  labels:
    {{- include "pollect.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    {{- if not .Values.existingConfigMap }}
    checksum/config: {{ include "pollect.config" . | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and $node .Values.hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  {{- if and $node .Values.hostRoots }}
  hostPID: true
  {{- end }}
  securityContext:
    {{- if .Values.runAsRoot }}
    runAsUser: 0
    {{- else }}
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    {{- end }}
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: pollect
      image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, -c, /etc/pollect/config]
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: NODE_NAME
          valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
        {{- if and $node .Values.hostRoots }}
        - name: POLLECT_ROOT
          value: /host
        {{- end }}
        {{- with .Values.env }}{{ toYaml . | nindent 8 }}{{ end }}
      ports:
        - {name: metrics, containerPort: {{ .Values.port }}, protocol: TCP}
      startupProbe:
        httpGet: {path: /-/healthy, port: metrics, scheme: {{ .Values.scheme }}}
        periodSeconds: 2
        failureThreshold: 30
      livenessProbe:
        httpGet: {path: /-/healthy, port: metrics, scheme: {{ .Values.scheme }}}
        periodSeconds: 20
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /-/ready, port: metrics, scheme: {{ .Values.scheme }}}
        periodSeconds: 10
        timeoutSeconds: 5
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
          {{- with .Values.capabilities }}
          add: {{- toYaml . | nindent 12 }}
          {{- end }}
      resources: {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/pollect, readOnly: true}
        - {name: state, mountPath: /var/lib/pollect}
        - {name: tmp, mountPath: /tmp}
        {{- if .Values.extensions }}
        - {name: extensions, mountPath: /pollect/extensions, readOnly: true}
        {{- end }}
        {{- range .Values.secrets }}
        - {name: secret-{{ . }}, mountPath: /run/secrets/pollect/{{ . }}, readOnly: true}
        {{- end }}
        {{- if and $node .Values.hostRoots }}
        - {name: host, mountPath: /host, readOnly: true, mountPropagation: HostToContainer}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ .Values.existingConfigMap | default (include "pollect.name" .) }}}
    - {name: tmp, emptyDir: {}}
    {{- if $node }}
    {{- if eq .Values.state.kind "hostPath" }}
    - {name: state, hostPath: {path: {{ .Values.state.hostPath }}, type: DirectoryOrCreate}}
    {{- else }}
    - {name: state, emptyDir: {}}
    {{- end }}
    {{- else if ne .Values.state.kind "claim" }}
    - {name: state, emptyDir: {}}
    {{- end }}
    {{- with .Values.extensions }}
    - {name: extensions, configMap: {name: {{ . }}}}
    {{- end }}
    {{- range .Values.secrets }}
    - {name: secret-{{ . }}, secret: {secretName: {{ . }}, defaultMode: 0440}}
    {{- end }}
    {{- if and $node .Values.hostRoots }}
    - {name: host, hostPath: {path: /, type: Directory}}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
