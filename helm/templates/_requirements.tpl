{{/* Says what is wrong with the values, all of it at once, and what to set instead. */}}
{{- define "lmstack.requirements" -}}
{{- $known := .Files.Get "files/known.json" | fromJson -}}
{{- $found := dict "problems" list -}}
{{- include "lmstack.unknownKeys" (dict "given" (omit .Values "global") "known" $known.values "all" $known.values "path" "" "found" $found) -}}
{{- $problems := $found.problems -}}

{{- $engine := .Values.servingEngineSpec -}}
{{- $router := .Values.routerSpec -}}

{{- /* What is not built here, each with the way that is. */ -}}
{{- if .Values.cacheserverSpec.enabled }}
{{- $problems = append $problems "cacheserverSpec.enabled: there is no LMCache server in this chart. Keep KV blocks inside the engines (modelSpec[].lmcacheConfig.enabled with cpuOffloadingBufferSize), and set cacheserverSpec.enabled: false" }}
{{- end }}
{{- if .Values.loraController.enableLoraController }}
{{- $problems = append $problems "loraController.enableLoraController: there is no LoRA controller in this chart. Engines load the adapters of loraAdapters[] themselves when they start; set loraController.enableLoraController: false" }}
{{- end }}
{{- $names := list }}
{{- range $at, $m := $engine.modelSpec }}
{{- $path := printf "servingEngineSpec.modelSpec[%d]" $at }}
{{- if kindIs "map" $m }}
{{- $on := and $engine.enableEngine (not (eq (toString $m.enabled) "false")) }}
{{- $simulated := ($m.engine | default dict).simulated }}
{{- if $on }}
{{- if ($m.raySpec | default dict).enabled }}
{{- $problems = append $problems (printf "%s.raySpec.enabled: Ray is not used in this chart. For one model over several nodes set multiNode.size (a LeaderWorkerSet), and raySpec.enabled: false" $path) }}
{{- end }}
{{- if ($m.lmcacheConfig | default dict).enableController }}
{{- $problems = append $problems (printf "%s.lmcacheConfig.enableController: no LMCache controller is embedded in the router. Set enableController: false: prefixaware needs nothing from engines, and with kvEvents.enabled: true they tell what they hold (policy kvaware)" $path) }}
{{- end }}
{{- if not $m.name }}
{{- $problems = append $problems (printf "%s.name is not set: give the model a short name, as in opt125m; it becomes part of the names of its objects" $path) }}
{{- else if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" (toString $m.name)) }}
{{- $problems = append $problems (printf "%s.name: %q can't be part of a Kubernetes name: use lower-case letters, digits and dashes" $path (toString $m.name)) }}
{{- else }}
{{- if has $m.name $names }}
{{- $problems = append $problems (printf "%s.name: %q is there twice: models need different names" $path $m.name) }}
{{- end }}
{{- $names = append $names $m.name }}
{{- $service := printf "%s-%s-engine-service" $.Release.Name $m.name }}
{{- if gt (len $service) 63 }}
{{- $problems = append $problems (printf "%s.name: the Service %s would have %d characters, and 63 are allowed: use a shorter name" $path $service (len $service)) }}
{{- end }}
{{- end }}
{{- if not $m.modelURL }}
{{- $problems = append $problems (printf "%s.modelURL is not set: say which model is served, as in facebook/opt-125m" $path) }}
{{- end }}
{{- if not $simulated }}
{{- range $key, $example := dict "repository" "vllm/vllm-openai" "tag" "v0.11.0" }}
{{- if not (get $m $key) }}
{{- $problems = append $problems (printf "%s.%s is not set: give the engine's image, as in %s, or engine.simulated: true to try the chart without a GPU" $path $key $example) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (kindIs "map" $m.pvcStorage) (not (hasKey $m.pvcStorage "emptyDir")) }}
{{- $problems = append $problems (printf "%s.pvcStorage: give a size, as in 50Gi, or {emptyDir: {}}" $path) }}
{{- end }}
{{- $pdb := $m.pdb | default dict }}
{{- if and $pdb.enabled (not (kindIs "invalid" $pdb.minAvailable)) (not (kindIs "invalid" $pdb.maxUnavailable)) }}
{{- $problems = append $problems (printf "%s.pdb: minAvailable and maxUnavailable exclude each other: leave one out" $path) }}
{{- end }}
{{- if and (($m.inferencePool | default dict).enabled) (not ((($m.inferencePool).endpointPickerRef | default dict).name)) }}
{{- $problems = append $problems (printf "%s.inferencePool.endpointPickerRef.name is not set: an InferencePool needs the Service of an endpoint picker" $path) }}
{{- end }}
{{- if and ($m.initContainer) (not ($m.initContainer).image) }}
{{- $problems = append $problems (printf "%s.initContainer.image is not set" $path) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- if $router.enableRouter }}
{{- if or (contains "lmstack-router" $router.repository) (contains "production-stack" $router.repository) }}
{{- $problems = append $problems (printf "routerSpec.repository: %s is production-stack's router, which does not know the arguments that this chart gives. Leave repository and tag out, or name an image of LMStack (lmstack/lmstack)" $router.repository) }}
{{- end }}
{{- if and (eq $router.serviceDiscovery "static") (not $router.staticBackends) (not (index $router.options "static-backends")) }}
{{- $problems = append $problems "routerSpec.staticBackends is not set: serviceDiscovery static needs the engines' URLs, as in http://10.0.0.1:8000,http://10.0.0.2:8000" }}
{{- end }}
{{- $drain := $router.drain }}
{{- $needed := add $drain.preStopSeconds $drain.delaySeconds $drain.timeoutSeconds 5 | int }}
{{- if and (not (kindIs "invalid" $router.terminationGracePeriodSeconds)) (lt (int $router.terminationGracePeriodSeconds) $needed) }}
{{- $problems = append $problems (printf "routerSpec.terminationGracePeriodSeconds: %d is shorter than draining takes, so requests would be cut: leave it out, give at least %d, or lower routerSpec.drain.timeoutSeconds" (int $router.terminationGracePeriodSeconds) $needed) }}
{{- end }}
{{- if and $router.autoscaling.enabled $router.keda.enabled }}
{{- $problems = append $problems "routerSpec.autoscaling and routerSpec.keda are both enabled: KEDA makes an HPA of its own; disable one" }}
{{- end }}
{{- if and $router.pdb.enabled (not (kindIs "invalid" $router.pdb.minAvailable)) (not (kindIs "invalid" $router.pdb.maxUnavailable)) }}
{{- $problems = append $problems "routerSpec.pdb: minAvailable and maxUnavailable exclude each other: leave one out" }}
{{- end }}
{{- range $what := list "apiKeys" "adminKeys" "vllmApiKey" }}
{{- $reference := get $router $what | default dict }}
{{- if and $reference.secretName (not $reference.secretKey) }}
{{- $problems = append $problems (printf "routerSpec.%s.secretKey is not set: say which key of the Secret %s holds it" $what $reference.secretName) }}
{{- end }}
{{- end }}
{{- if and $router.ingress.enabled (not $router.ingress.hosts) }}
{{- $problems = append $problems "routerSpec.ingress.hosts is empty: give hosts: [{host: llm.example.com, paths: [{path: /}]}]" }}
{{- end }}
{{- end }}

{{- if and (kindIs "map" $engine.vllmApiKey) ($engine.vllmApiKey).secretName (not ($engine.vllmApiKey).secretKey) }}
{{- $problems = append $problems (printf "servingEngineSpec.vllmApiKey.secretKey is not set: say which key of the Secret %s holds it" $engine.vllmApiKey.secretName) }}
{{- end }}

{{- $bases := list }}
{{- $models := include "lmstack.models" . | fromJsonArray }}
{{- range $models }}{{ $bases = concat $bases (list .name .modelURL) }}{{ end }}
{{- range $at, $adapter := .Values.loraAdapters }}
{{- if not (eq (toString $adapter.enabled) "false") }}
{{- $path := printf "loraAdapters[%d]" $at }}
{{- if not $adapter.name }}
{{- $problems = append $problems (printf "%s.name is not set: clients ask for the adapter by it" $path) }}
{{- end }}
{{- if not (has $adapter.baseModel $bases) }}
{{- $problems = append $problems (printf "%s.baseModel: %q is no model of this release: give the name or modelURL of one (%s)" $path (toString $adapter.baseModel) (join ", " (compact $bases))) }}
{{- end }}
{{- $placed := $adapter.loraAdapterDeploymentConfig | default dict }}
{{- if not (kindIs "invalid" $placed.replicas) }}
{{- range $models }}
{{- $engines := ternary ((.keda | default dict).maxReplicaCount | default 100) (ternary 1 .replicaCount (kindIs "invalid" .replicaCount)) (eq (toString (.keda | default dict).enabled) "true") | int }}
{{- if and (has $adapter.baseModel (list .name .modelURL)) (lt (int $placed.replicas) $engines) }}
{{- $problems = append $problems (printf "%s.loraAdapterDeploymentConfig.replicas: %d of up to %d engines of %s: no LoRA controller chooses them in this chart (algorithm %s), every engine of the model loads its adapters. Leave it out, or give %d engines a modelSpec entry of their own, and its name as baseModel" $path (int $placed.replicas) $engines .name ($placed.algorithm | default "default") (int $placed.replicas)) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (include "lmstack.hasSecret" $adapter.vllmApiKey) (ne (toJson $adapter.vllmApiKey) (toJson $engine.vllmApiKey)) }}
{{- $problems = append $problems (printf "%s.vllmApiKey: it is what a LoRA controller shows to engines, and there is none in this chart: engines load adapters themselves. Leave it out; the key that engines ask for is servingEngineSpec.vllmApiKey" $path) }}
{{- end }}
{{- $source := $adapter.adapterSource | default dict }}
{{- $credentials := $source.credentials }}
{{- if and (eq (toString $source.type) "s3") (kindIs "string" $credentials) $credentials }}
{{- $problems = append $problems (printf "%s.adapterSource.credentials: one text is not enough for s3: make a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and give its name as credentials.secretName" $path) }}
{{- end }}
{{- if and (eq (toString $source.type) "huggingface") (kindIs "map" $credentials) ($credentials).secretName (not ($credentials).secretKey) }}
{{- $problems = append $problems (printf "%s.adapterSource.credentials.secretKey is not set: say which key of the Secret %s holds the token" $path $credentials.secretName) }}
{{- end }}
{{- $needs := get (dict "local" "adapterPath" "http" "adapterPath" "huggingface" "repository" "s3" "repository") (toString $source.type) }}
{{- if not $needs }}
{{- $problems = append $problems (printf "%s.adapterSource.type is not set: give local, http, s3 or huggingface" $path) }}
{{- else if not (get $source $needs) }}
{{- $problems = append $problems (printf "%s.adapterSource.%s is not set: a source of type %s needs it" $path $needs $source.type) }}
{{- end }}
{{- end }}
{{- end }}

{{- if $problems }}
{{- fail (printf "\n\nThe values can't be used:\n  - %s\n\nEvery key: docs/helm-values.md\n" (join "\n  - " $problems)) }}
{{- end }}
{{- end -}}
