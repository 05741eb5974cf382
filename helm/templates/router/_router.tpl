{{/* Helpers of the router's templates. */}}

{{/* Label selector by which engines are found. */}}
{{- define "lmstack.router.labelSelector" -}}
{{- if .Values.routerSpec.k8sLabelSelector -}}
{{- .Values.routerSpec.k8sLabelSelector -}}
{{- else -}}
{{- $pairs := list -}}
{{- range $key, $value := .Values.servingEngineSpec.labels }}{{ $pairs = append $pairs (printf "%s=%s" $key (include "lmstack.text" $value)) }}{{ end -}}
{{- /* Engines of this release only, or two releases in one namespace would serve each other's clients. */ -}}
{{- if .Values.servingEngineSpec.enableEngine }}{{ $pairs = append $pairs (printf "helm-release-name=%s" .Release.Name) }}{{ end -}}
{{- join "," $pairs -}}
{{- end -}}
{{- end -}}

{{- define "lmstack.router.namespaces" -}}
{{- join "," (.Values.routerSpec.k8sNamespaces | default (list .Release.Namespace)) -}}
{{- end -}}

{{- define "lmstack.router.serviceAccount" -}}
{{- .Values.routerSpec.serviceAccountName | default (printf "%s-router-service-account" .Release.Name) -}}
{{- end -}}

{{/* Files with keys and certificates: a JSON map from the flag to the Secret and its key. */}}
{{- define "lmstack.router.files" -}}
{{- $r := .Values.routerSpec -}}
{{- $own := .Values.servingEngineSpec.vllmApiKey -}}
{{- $files := dict -}}
{{- $ours := dict -}}
{{- if include "lmstack.hasSecret" $own -}}
{{- $ours = include "lmstack.secretKeyRef" (dict "root" . "value" $own "key" "vllmApiKey") | fromYaml -}}
{{- end -}}
{{- $engine := $ours -}}
{{- if and (or (not .Values.servingEngineSpec.enableEngine) (not $ours)) $r.vllmApiKey.secretName }}{{ $engine = dict "name" $r.vllmApiKey.secretName "key" $r.vllmApiKey.secretKey }}{{ end -}}
{{- with $engine }}{{ $_ := set $files "engine-api-key" . }}{{ end -}}
{{- /* The router sends the engines' key for its clients, so it must ask them for one. */ -}}
{{- $client := $engine -}}
{{- if $r.apiKeys.secretName }}{{ $client = dict "name" $r.apiKeys.secretName "key" $r.apiKeys.secretKey }}{{ end -}}
{{- with $client }}{{ $_ := set $files "api-key" . }}{{ end -}}
{{- if $r.adminKeys.secretName }}{{ $_ := set $files "admin-key" (dict "name" $r.adminKeys.secretName "key" $r.adminKeys.secretKey) }}{{ end -}}
{{- toJson $files -}}
{{- end -}}

{{- define "lmstack.router.args" -}}
{{- $root := . -}}
{{- $r := .Values.routerSpec -}}
{{- $args := list "router" "--host" "0.0.0.0" "--port" (include "lmstack.text" $r.containerPort) -}}
{{- if $r.options }}{{ $args = concat $args (list "--config" "/etc/lmstack/config/router.yaml") }}{{ end -}}
{{- $args = concat $args (list "--service-discovery" $r.serviceDiscovery) -}}
{{- if eq $r.serviceDiscovery "k8s" -}}
{{- $args = concat $args (list "--k8s-namespace" (include "lmstack.router.namespaces" .) "--k8s-label-selector" (include "lmstack.router.labelSelector" .)) -}}
{{- $byService := eq $r.k8sServiceDiscoveryType "service-name" -}}
{{- if $byService }}{{ $args = concat $args (list "--k8s-service-discovery-type" "service-name") }}{{ end -}}
{{- $port := ternary .Values.servingEngineSpec.servicePort .Values.servingEngineSpec.containerPort $byService -}}
{{- $args = concat $args (list "--k8s-port" (include "lmstack.text" $port)) -}}
{{- end -}}
{{- if eq $r.serviceDiscovery "static" -}}
{{- with $r.staticBackends }}{{ $args = concat $args (list "--static-backends" .) }}{{ end -}}
{{- with $r.staticModels }}{{ $args = concat $args (list "--static-models" .) }}{{ end -}}
{{- end -}}
{{- with $r.routingLogic }}{{ $args = concat $args (list "--routing-logic" .) }}{{ end -}}
{{- /* Each is told how many there are, so that they agree where a conversation begins. What the values name comes first. */ -}}
{{- $routers := int $r.replicaCount -}}
{{- if $r.autoscaling.enabled }}{{ $routers = int $r.autoscaling.minReplicas }}{{ end -}}
{{- if $r.keda.enabled }}{{ $routers = int $r.keda.minReplicaCount }}{{ end -}}
{{- if and (gt $routers 1) (not (hasKey ($r.options | default dict) "router-replicas")) }}{{ $args = concat $args (list "--router-replicas" (toString $routers)) }}{{ end -}}
{{- with $r.sessionKey }}{{ $args = concat $args (list "--session-key" .) }}{{ end -}}
{{- with $r.prefixMinMatchLength }}{{ $args = concat $args (list "--prefix-min-match-length" (include "lmstack.text" .)) }}{{ end -}}
{{- with $r.rootPath }}{{ $args = concat $args (list "--root-path" .) }}{{ end -}}
{{- with $r.engineScrapeInterval }}{{ $args = concat $args (list "--engine-stats-interval" (include "lmstack.text" .)) }}{{ end -}}
{{- with $r.requestStatsWindow }}{{ $args = concat $args (list "--request-stats-window" (include "lmstack.text" .)) }}{{ end -}}
{{- /* The pool of an engine is the role on its pod. */ -}}
{{- $roles := list -}}
{{- range include "lmstack.models" . | fromJsonArray }}{{ with .role }}{{ $roles = append $roles . }}{{ end }}{{ end -}}
{{- if $roles }}{{ $args = concat $args (list "--prefill-model-labels" "prefill" "--decode-model-labels" "decode") }}{{ end -}}
{{- /* Models without engines exist all the same. Others need no word: with them, each new model would restart the routers. */ -}}
{{- $resting := list -}}
{{- if eq $r.serviceDiscovery "k8s" -}}
{{- range include "lmstack.models" . | fromJsonArray -}}
{{- if include "lmstack.engine.restsAtZero" . -}}
{{- $resting = append $resting (include "lmstack.engine.servedName" .) -}}
{{- range include "lmstack.engine.adapters" (dict "root" $root "model" .) | fromJsonArray }}{{ $resting = append $resting .name }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $resting }}{{ $args = concat $args (list "--known-models" (uniq . | join ",")) }}{{ end -}}
{{- with $r.otel.endpoint -}}
{{- $args = concat $args (list "--otel-endpoint" . "--otel-service-name" ($r.otel.serviceName | default "vllm-router")) -}}
{{- if $r.otel.secure }}{{ $args = append $args "--otel-secure" }}{{ end -}}
{{- end -}}
{{- range $key, $flag := dict "lmcacheControllerPort" "--lmcache-controller-port" "lmcacheControllerReplyPort" "--lmcache-controller-reply-port" "lmcacheControllerHeartbeatPort" "--lmcache-controller-heartbeat-port" -}}
{{- $value := get $r $key -}}
{{- if $value }}{{ $args = concat $args (list $flag (include "lmstack.text" $value)) }}{{ end -}}
{{- end -}}
{{- range $flag, $_ := include "lmstack.router.files" . | fromJson }}{{ $args = concat $args (list (printf "--%s-file" $flag) (printf "/etc/lmstack/%s/key" $flag)) }}{{ end -}}
{{- if $r.tls.secretName }}{{ $args = concat $args (list "--tls-cert-file" "/etc/lmstack/tls/tls.crt" "--tls-key-file" "/etc/lmstack/tls/tls.key") }}{{ end -}}
{{- if $r.engineTls.caSecretName }}{{ $args = concat $args (list "--engine-tls-ca-file" "/etc/lmstack/engine-ca/ca.crt") }}{{ end -}}
{{- $args = concat $args (list "--drain-delay-seconds" (include "lmstack.text" $r.drain.delaySeconds) "--drain-timeout-seconds" (include "lmstack.text" $r.drain.timeoutSeconds)) -}}
{{- range $r.extraArgs }}{{ $args = append $args (include "lmstack.text" .) }}{{ end -}}
{{- toJson $args -}}
{{- end -}}

{{/* Longest that draining may take, and some seconds. */}}
{{- define "lmstack.router.grace" -}}
{{- $r := .Values.routerSpec -}}
{{- if kindIs "invalid" $r.terminationGracePeriodSeconds }}{{ add $r.drain.preStopSeconds $r.drain.delaySeconds $r.drain.timeoutSeconds 15 }}{{ else }}{{ int $r.terminationGracePeriodSeconds }}{{ end -}}
{{- end -}}
