{{/* Resources of an engine's container. */}}
{{- define "lmstack.engine.resources" -}}
{{- if .resources -}}
{{- toYaml .resources -}}
{{- else -}}
{{- $requests := dict -}}
{{- $limits := dict -}}
{{- if not (kindIs "invalid" .requestCPU) }}{{ $_ := set $requests "cpu" (include "lmstack.text" .requestCPU) }}{{ end -}}
{{- if not (kindIs "invalid" .requestMemory) }}{{ $_ := set $requests "memory" (include "lmstack.text" .requestMemory) }}{{ end -}}
{{- if not (kindIs "invalid" .limitCPU) }}{{ $_ := set $limits "cpu" (include "lmstack.text" .limitCPU) }}{{ end -}}
{{- if not (kindIs "invalid" .limitMemory) }}{{ $_ := set $limits "memory" (include "lmstack.text" .limitMemory) }}{{ end -}}
{{- if gt (float64 (.requestGPU | default 0)) 0.0 -}}
{{- $type := .requestGPUType | default "nvidia.com/gpu" -}}
{{- $_ := set $requests $type (include "lmstack.text" .requestGPU) -}}
{{- $_ := set $limits $type (include "lmstack.text" .requestGPU) -}}
{{- end -}}
{{- /* Extended resources need a limit, so one that is only requested is its own limit. */ -}}
{{- $model := . -}}
{{- range $name, $suffix := dict "nvidia.com/gpumem" "GPUMem" "nvidia.com/gpumem-percentage" "GPUMemPercentage" "nvidia.com/gpucores" "GPUCores" -}}
{{- $request := get $model (printf "request%s" $suffix) -}}
{{- $limit := get $model (printf "limit%s" $suffix) -}}
{{- $request = ternary $limit $request (or (kindIs "invalid" $request) (eq (toString $request) "")) -}}
{{- $limit = ternary $request $limit (or (kindIs "invalid" $limit) (eq (toString $limit) "")) -}}
{{- if not (or (kindIs "invalid" $limit) (eq (toString $limit) "")) -}}
{{- $_ := set $requests $name (include "lmstack.text" $request) -}}
{{- $_ := set $limits $name (include "lmstack.text" $limit) -}}
{{- end -}}
{{- end -}}
{{- $all := dict -}}
{{- with $requests }}{{ $_ := set $all "requests" . }}{{ end -}}
{{- with $limits }}{{ $_ := set $all "limits" . }}{{ end -}}
{{- toYaml $all -}}
{{- end -}}
{{- end -}}

{{/* Is there a volume at /data? */}}
{{- define "lmstack.engine.hasVolume" -}}
{{- if or .pvcStorage .pvcExistingClaimName }}yes{{ else if kindIs "map" .pvcStorage }}yes{{ end -}}
{{- end -}}

{{/* Does the model get a claim of its own? */}}
{{- define "lmstack.engine.hasClaim" -}}
{{- if and .pvcStorage (not (kindIs "map" .pvcStorage)) (not .pvcExistingClaimName) }}yes{{ end -}}
{{- end -}}

{{/* spec of that claim. */}}
{{- define "lmstack.engine.claimSpec" -}}
accessModes:
  {{- toYaml (.pvcAccessMode | default (list "ReadWriteOnce")) | nindent 2 }}
{{- with .storageClass }}
storageClassName: {{ . | quote }}
{{- end }}
resources:
  requests:
    storage: {{ include "lmstack.text" .pvcStorage | quote }}
{{- with .pvcMatchLabels }}
selector:
  matchLabels:
    {{- include "lmstack.texts" . | nindent 4 }}
{{- end }}
{{- end -}}

{{/* Size of /dev/shm; empty leaves it to the runtime. */}}
{{- define "lmstack.engine.shmSize" -}}
{{- $parallel := int (($.vllmConfig | default dict).tensorParallelSize | default 1) -}}
{{- if .shmSize }}{{ include "lmstack.text" .shmSize }}{{ else if or (gt $parallel 1) (gt (float64 (.requestGPU | default 0)) 1.0) }}20Gi{{ end -}}
{{- end -}}

{{/* Deployment, StatefulSet or LeaderWorkerSet. */}}
{{- define "lmstack.engine.kind" -}}
{{- if and (gt (int ((.multiNode | default dict).size | default 1)) 1) (not (.engine | default dict).simulated) }}LeaderWorkerSet{{ else }}{{ .kind | default "Deployment" }}{{ end -}}
{{- end -}}

{{/* Requests of a model that wait, as PromQL. (dict "namespace" n "model" served-name) */}}
{{- define "lmstack.engine.waitingQuery" -}}
{{- $labels := printf "namespace=%q,%%s=%q" .namespace .model -}}
(sum(vllm:num_requests_waiting{ {{- printf $labels "model_name" -}} }) or vector(0)) + (sum(lmstack_queue_length{ {{- printf $labels "model" -}} }) or vector(0))
{{- end -}}

{{/* May a model be without engines while all is well? KEDA's fewest is 0 unless something is said. */}}
{{- define "lmstack.engine.restsAtZero" -}}
{{- $keda := .keda | default dict -}}
{{- if $keda.enabled -}}
{{- if or (eq (int ($keda.minReplicaCount | default 0)) 0) (not (kindIs "invalid" $keda.idleReplicaCount)) }}yes{{ end -}}
{{- else if and (not (kindIs "invalid" .replicaCount)) (eq (int .replicaCount) 0) }}yes{{ end -}}
{{- end -}}
