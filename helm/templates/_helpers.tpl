{{/* Helpers that every template uses. Those of engines: engine/_*.tpl; of the router: router/_router.tpl. */}}

{{/* A value as text. YAML's numbers arrive as floats, whose own form of a million is 1e+06. */}}
{{- define "lmstack.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{/* Labels of an object. Ours win over those of users, since selectors rely on them.
     (dict "root" $ "component" "router" "labels" (list map map ...)) */}}
{{- define "lmstack.labels" -}}
{{- $labels := dict -}}
{{- range .labels }}{{ $labels = mergeOverwrite $labels (. | default dict) }}{{ end -}}
{{- $labels = mergeOverwrite (deepCopy (.root.Values.commonLabels | default dict)) $labels (include "lmstack.selector" . | fromYaml) -}}
{{- $_ := set $labels "helm-release-name" .root.Release.Name -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- range $key, $value := $labels }}{{ $_ := set $labels $key (include "lmstack.text" $value) }}{{ end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* A map of texts: numbers and `true` are texts there, which the API server does not do by itself. */}}
{{- define "lmstack.texts" -}}
{{- $texts := dict -}}
{{- range $key, $value := . }}{{ $_ := set $texts $key (include "lmstack.text" $value) }}{{ end -}}
{{- toYaml $texts -}}
{{- end -}}

{{/* What selectors hold: nothing that a user may change and nothing that a version changes, since selectors can't be. */}}
{{- define "lmstack.selector" -}}
app.kubernetes.io/name: lmstack
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component | quote }}
{{- with .model }}
model: {{ .name | quote }}
{{- end }}
{{- end -}}

{{/* Name of an image: a digest goes behind an @. (dict "repository" "tag") */}}
{{- define "lmstack.image" -}}
{{- $tag := include "lmstack.text" .tag -}}
{{ .repository }}{{ if hasPrefix "sha256:" $tag }}@{{ else }}:{{ end }}{{ $tag }}
{{- end -}}

{{- define "lmstack.routerImage" -}}
{{- $router := .Values.routerSpec -}}
{{- include "lmstack.image" (dict "repository" $router.repository "tag" ($router.tag | default .Chart.AppVersion)) -}}
{{- end -}}

{{/* A probe, with the port of the container where none is said, and without what is empty.
     (dict "probe" map "port" name "scheme" "HTTPS") */}}
{{- define "lmstack.probe" -}}
{{- $probe := dict -}}
{{- range $key, $value := .probe }}
{{- if not (or (kindIs "invalid" $value) (eq $key "httpGet")) }}{{ $_ := set $probe $key $value }}{{ end -}}
{{- end -}}
{{- $get := dict "port" .port -}}
{{- with .scheme }}{{ $_ := set $get "scheme" . }}{{ end -}}
{{- range $key, $value := (.probe.httpGet | default dict) }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $get $key $value }}{{ end -}}
{{- end -}}
{{- $_ := set $probe "httpGet" $get -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* Does a text-or-reference name a secret at all? `{secretName: "", secretKey: ""}` is in many values files and says no. */}}
{{- define "lmstack.hasSecret" -}}
{{- if kindIs "map" . }}{{ with .secretName }}yes{{ end }}{{ else if . }}yes{{ end -}}
{{- end -}}

{{/* secretKeyRef of a text-or-reference. (dict "root" $ "value" v "key" key-in-our-secret) */}}
{{- define "lmstack.secretKeyRef" -}}
{{- if kindIs "map" .value -}}
name: {{ .value.secretName | quote }}
key: {{ .value.secretKey | quote }}
{{- else -}}
name: "{{ .root.Release.Name }}-secrets"
key: {{ .key | quote }}
{{- end -}}
{{- end -}}

{{/* Models that are deployed, as a JSON list. */}}
{{- define "lmstack.models" -}}
{{- $models := list -}}
{{- if .Values.servingEngineSpec.enableEngine -}}
{{- range .Values.servingEngineSpec.modelSpec -}}
{{- if not (eq (toString .enabled) "false") }}{{ $models = append $models . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $models -}}
{{- end -}}

{{/* Budget of a PodDisruptionBudget: one pod may be missing unless something is said. */}}
{{- define "lmstack.pdbBudget" -}}
{{- if not (kindIs "invalid" .minAvailable) }}
minAvailable: {{ include "lmstack.budget" .minAvailable }}
{{- else }}
maxUnavailable: {{ include "lmstack.budget" (ternary 1 .maxUnavailable (kindIs "invalid" .maxUnavailable)) }}
{{- end }}
{{- end -}}

{{/* A count stays a number, a percentage a text. */}}
{{- define "lmstack.budget" -}}
{{- $text := include "lmstack.text" . -}}
{{- if hasSuffix "%" $text }}{{ $text | quote }}{{ else }}{{ $text }}{{ end -}}
{{- end -}}

{{/* Rule of a Gateway API route to the router. (dict "root" $ "route" map "name" name "labels" list) */}}
{{- define "lmstack.route" -}}
{{- $root := .root -}}
{{- $route := .route -}}
apiVersion: {{ $route.apiVersion | default "gateway.networking.k8s.io/v1" }}
kind: {{ $route.kind | default "HTTPRoute" }}
metadata:
  name: {{ .name | quote }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- include "lmstack.labels" (dict "root" $root "component" "router" "labels" (list $root.Values.routerSpec.labels $route.labels)) | nindent 4 }}
  {{- with $route.annotations }}
  annotations:
    {{- include "lmstack.texts" . | nindent 4 }}
  {{- end }}
spec:
  {{- with $route.parentRefs }}
  parentRefs:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $route.hostnames }}
  hostnames:
    {{- tpl (toYaml .) $root | nindent 4 }}
  {{- end }}
  rules:
    {{- with $route.additionalRules }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
    {{- if $route.httpsRedirect }}
    - filters:
        - type: RequestRedirect
          requestRedirect:
            scheme: https
            statusCode: 301
    {{- else }}
    - backendRefs:
        - name: "{{ $root.Release.Name }}-router-service"
          port: {{ $root.Values.routerSpec.servicePort | int }}
      {{- with $route.matches }}
      matches:
        {{- tpl (toYaml .) $root | nindent 8 }}
      {{- end }}
      {{- with $route.filters }}
      filters:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $route.timeouts }}
      timeouts:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
{{- end -}}

{{/* Keys of a pod spec that the router and engines have in common. */}}
{{- define "lmstack.podExtras" -}}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Endpoints of a ServiceMonitor or PodMonitor. (dict "monitor" map "port" name "scheme" "https") */}}
{{- define "lmstack.scrape" -}}
- port: {{ .port | quote }}
  path: /metrics
  {{- with .scheme }}
  scheme: {{ . }}
  tlsConfig:
    insecureSkipVerify: true
  {{- end }}
  interval: {{ .monitor.interval | quote }}
  scrapeTimeout: {{ .monitor.scrapeTimeout | quote }}
  honorLabels: {{ .monitor.honorLabels }}
  {{- with .monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .monitor.relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
