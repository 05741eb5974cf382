{{/* Command lines of engines. Each gives a JSON list. */}}

{{- define "lmstack.engine.servedName" -}}
{{- /* What clients say: --served-model-name in extraArgs wins, as it does for vLLM. */ -}}
{{- $given := include "lmstack.engine.flagValue" (dict "args" ((.vllmConfig | default dict).extraArgs) "flag" "--served-model-name") -}}
{{- $given | default .servedModelName | default .modelURL -}}
{{- end -}}

{{/* Value of a flag in a list of arguments, said as `--flag value` or `--flag=value`; the last one wins. */}}
{{- define "lmstack.engine.flagValue" -}}
{{- $args := .args | default list -}}
{{- $flag := .flag -}}
{{- $value := "" -}}
{{- range $at, $arg := $args -}}
{{- $text := include "lmstack.text" $arg -}}
{{- if hasPrefix (printf "%s=" $flag) $text }}{{ $value = trimPrefix (printf "%s=" $flag) $text -}}
{{- else if and (eq $text $flag) (lt (add1 $at) (len $args)) }}{{ $value = include "lmstack.text" (index $args (int (add1 $at))) }}{{ end -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{/* Adapters of a model, as a JSON list. */}}
{{- define "lmstack.engine.adapters" -}}
{{- $model := .model -}}
{{- $adapters := list -}}
{{- range .root.Values.loraAdapters -}}
{{- if and (not (eq (toString .enabled) "false")) (has .baseModel (list $model.name $model.modelURL)) }}{{ $adapters = append $adapters . }}{{ end -}}
{{- end -}}
{{- toJson $adapters -}}
{{- end -}}

{{/* Where an adapter is in the engine's container. */}}
{{- define "lmstack.engine.adapterPath" -}}
{{- $source := .adapterSource -}}
{{- if eq $source.type "huggingface" }}{{ $source.repository -}}
{{- else if eq $source.type "local" }}{{ $source.adapterPath }}{{ with $source.adapterName }}/{{ . }}{{ end -}}
{{- else }}/adapters/{{ $source.adapterName | default .name }}{{ end -}}
{{- end -}}

{{/* Key of our Secret that holds an adapter's credentials, where they are given as text. */}}
{{- define "lmstack.engine.adapterSecretKey" -}}
lora_adapter_credentials_{{ .adapterSource.adapterName | default .name | replace "/" "_" }}
{{- end -}}

{{- define "lmstack.engine.kvEventsConfig" -}}
{{- $port := .port | default 5557 | int -}}
{{- $replay := .replayPort | default 5558 | int -}}
{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:{{ $port }}","replay_endpoint":"tcp://*:{{ $replay }}","topic":{{ .topic | default "" | quote }}}
{{- end -}}

{{/* Arguments that vLLM and the simulator have in common. (dict "root" $ "model" m) */}}
{{- define "lmstack.engine.sharedArgs" -}}
{{- $m := .model -}}
{{- $v := $m.vllmConfig | default dict -}}
{{- $args := list -}}
{{- range $key, $flag := dict "maxModelLen" "--max-model-len" "maxNumSeqs" "--max-num-seqs" -}}
{{- $value := get $v $key -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}{{ $args = append $args $flag }}{{ $args = append $args (include "lmstack.text" $value) }}{{ end -}}
{{- end -}}
{{- if not (kindIs "invalid" $v.enablePrefixCaching) }}{{ $args = append $args (ternary "--enable-prefix-caching" "--no-enable-prefix-caching" $v.enablePrefixCaching) }}{{ end -}}
{{- if $m.enableTool }}{{ $args = append $args "--enable-auto-tool-choice" }}{{ end -}}
{{- $adapters := include "lmstack.engine.adapters" . | fromJsonArray -}}
{{- $maxLoras := $v.maxLoras -}}
{{- range $adapters }}{{ if and (kindIs "invalid" $maxLoras) .adapterSource.maxAdapters }}{{ $maxLoras = .adapterSource.maxAdapters }}{{ end }}{{ end -}}
{{- if not (kindIs "invalid" $maxLoras) }}{{ $args = concat $args (list "--max-loras" (include "lmstack.text" $maxLoras)) }}{{ end -}}
{{- with $m.kvEvents }}{{ if .enabled }}{{ $args = concat $args (list "--kv-events-config" (include "lmstack.engine.kvEventsConfig" .)) }}{{ end }}{{ end -}}
{{- toJson $args -}}
{{- end -}}

{{/* `vllm serve`. (dict "root" $ "model" m "node" "single" | "leader" | "worker") */}}
{{- define "lmstack.engine.vllmArgs" -}}
{{- $root := .root -}}
{{- $m := .model -}}
{{- $v := $m.vllmConfig | default dict -}}
{{- $l := $m.lmcacheConfig | default dict -}}
{{- $args := list "serve" $m.modelURL "--host" "0.0.0.0" "--port" (include "lmstack.text" $root.Values.servingEngineSpec.containerPort) -}}
{{- with $m.modelRevision }}{{ $args = concat $args (list "--revision" .) }}{{ end -}}
{{- with $m.servedModelName }}{{ $args = concat $args (list "--served-model-name" .) }}{{ end -}}
{{- if not (kindIs "invalid" $v.enableChunkedPrefill) }}{{ $args = append $args (ternary "--enable-chunked-prefill" "--no-enable-chunked-prefill" $v.enableChunkedPrefill) }}{{ end -}}
{{- range list (list "dtype" "--dtype") (list "tensorParallelSize" "--tensor-parallel-size") (list "pipelineParallelSize" "--pipeline-parallel-size") (list "gpuMemoryUtilization" "--gpu-memory-utilization") (list "runner" "--runner") (list "convert" "--convert") -}}
{{- $value := get $v (first .) -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}{{ $args = concat $args (list (last .) (include "lmstack.text" $value)) }}{{ end -}}
{{- end -}}
{{- $args = concat $args (include "lmstack.engine.sharedArgs" . | fromJsonArray) -}}
{{- with $m.toolCallParser }}{{ $args = concat $args (list "--tool-call-parser" .) }}{{ end -}}
{{- with include "lmstack.engine.chatTemplatePath" $m }}{{ $args = concat $args (list "--chat-template" .) }}{{ end -}}
{{- $adapters := include "lmstack.engine.adapters" . | fromJsonArray -}}
{{- if or $m.enableLoRA $adapters }}{{ $args = append $args "--enable-lora" }}{{ end -}}
{{- if $adapters }}
{{- $args = append $args "--lora-modules" -}}
{{- range $adapters }}{{ $args = append $args (printf "%s=%s" .name (include "lmstack.engine.adapterPath" .)) }}{{ end -}}
{{- end -}}
{{- if $l.enabled -}}
{{- $connector := ternary "LMCacheConnector" "LMCacheConnectorV1" (eq (include "lmstack.engine.v0" $v) "yes") -}}
{{- $transfer := dict "kv_connector" $connector "kv_role" ($l.kvRole | default "kv_both") -}}
{{- if $l.enablePD }}{{ $_ := set $transfer "kv_connector_extra_config" (dict "discard_partial_chunks" false "lmcache_rpc_port" ($l.nixlRole | default "")) }}{{ end -}}
{{- $args = concat $args (list "--kv-transfer-config" (toJson $transfer)) -}}
{{- end -}}
{{- if ne .node "single" -}}
{{- $args = concat $args (list "--nnodes" "$(LWS_GROUP_SIZE)" "--node-rank" "$(LWS_WORKER_INDEX)" "--master-addr" "$(LWS_LEADER_ADDRESS)" "--master-port" (include "lmstack.text" ($m.multiNode.masterPort | default 29500))) -}}
{{- if eq .node "worker" }}{{ $args = append $args "--headless" }}{{ end -}}
{{- end -}}
{{- range $v.extraArgs }}{{ $args = append $args (include "lmstack.text" .) }}{{ end -}}
{{- toJson $args -}}
{{- end -}}

{{- define "lmstack.engine.v0" -}}
{{- if or (eq (include "lmstack.text" .v0) "1") (eq (include "lmstack.text" .v1) "0") }}yes{{ end -}}
{{- end -}}

{{/* `lmstack engine`: of the model's settings what the simulator knows. */}}
{{- define "lmstack.engine.simulatorArgs" -}}
{{- $root := .root -}}
{{- $m := .model -}}
{{- $v := $m.vllmConfig | default dict -}}
{{- $flags := ($root.Files.Get "files/known.json" | fromJson).simulatorFlags -}}
{{- $args := list "engine" "--host" "0.0.0.0" "--port" (include "lmstack.text" $root.Values.servingEngineSpec.containerPort) "--model" (include "lmstack.engine.servedName" $m) -}}
{{- if has $v.runner (list "generate" "pooling") }}{{ $args = concat $args (list "--runner" $v.runner) }}{{ end -}}
{{- $args = concat $args (include "lmstack.engine.sharedArgs" . | fromJsonArray) -}}
{{- if $m.enableLoRA }}{{ $args = append $args "--allow-runtime-lora-updating" }}{{ end -}}
{{- range include "lmstack.engine.adapters" . | fromJsonArray }}{{ $args = concat $args (list "--lora-modules" (printf "%s=%s" .name (include "lmstack.engine.adapterPath" .))) }}{{ end -}}
{{- $taking := false -}}
{{- range $v.extraArgs -}}
{{- $text := include "lmstack.text" . -}}
{{- if hasPrefix "--" $text -}}
{{- $flag := (splitList "=" $text | first | trimPrefix "--" | replace "_" "-") -}}
{{- $name := ternary (trimPrefix "no-" $flag) $flag (and (hasPrefix "no-" $flag) (not (hasKey $flags $flag))) -}}
{{- $taking = and (hasKey $flags $name) (not (has $name (list "model" "host" "port"))) -}}
{{- if $taking }}{{ $args = append $args (printf "--%s" (trimPrefix "--" $text)) }}{{ end -}}
{{- else if $taking }}{{ $args = append $args $text }}{{ $taking = false }}{{ end -}}
{{- end -}}
{{- range ($m.engine).args }}{{ $args = append $args (include "lmstack.text" .) }}{{ end -}}
{{- toJson $args -}}
{{- end -}}

{{/* Path of the chat template in the container; empty without one. */}}
{{- define "lmstack.engine.chatTemplatePath" -}}
{{- $template := .chatTemplate | default "" -}}
{{- if or .chatTemplateConfigMap .chatTemplatePvc }}/templates/{{ $template | default "template.jinja" -}}
{{- else if include "lmstack.engine.inlineTemplate" . }}/templates/template.jinja
{{- else }}{{ $template }}{{ end -}}
{{- end -}}

{{- define "lmstack.engine.inlineTemplate" -}}
{{- $template := .chatTemplate | default "" -}}
{{- if and (not .chatTemplateConfigMap) (or (contains "{{" $template) (contains "{%" $template) (contains "\n" $template)) }}yes{{ end -}}
{{- end -}}
