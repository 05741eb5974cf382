{{/* Environment of an engine's container. (dict "root" $ "model" m) */}}
{{- define "lmstack.engine.env" -}}
{{- $root := .root -}}
{{- $m := .model -}}
{{- $v := $m.vllmConfig | default dict -}}
{{- $l := $m.lmcacheConfig | default dict -}}
{{- $key := $root.Values.servingEngineSpec.vllmApiKey -}}
- name: PYTHONHASHSEED
  value: "123"
- name: HF_HOME
  value: {{ ternary "/data" "/tmp" (eq (include "lmstack.engine.hasVolume" $m) "yes") }}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- if include "lmstack.engine.v0" $v }}
- name: VLLM_USE_V1
  value: "0"
{{- else }}
- name: PROMETHEUS_MULTIPROC_DIR
  value: {{ $v.prometheusMultiprocDir | default "/tmp" | quote }}
{{- end }}
{{- if $m.enableLoRA }}
- name: VLLM_ALLOW_RUNTIME_LORA_UPDATING
  value: "True"
{{- end }}
{{- /* engines fetch adapters of the hub themselves, with one token for all */ -}}
{{- $token := dict }}
{{- if include "lmstack.hasSecret" $m.hf_token }}
{{- $token = dict "root" $root "value" $m.hf_token "key" (printf "hf_token_%s" $m.name) }}
{{- else }}
{{- range include "lmstack.engine.adapters" . | fromJsonArray }}
{{- if and (not $token) (eq .adapterSource.type "huggingface") (include "lmstack.hasSecret" .adapterSource.credentials) }}
{{- $token = dict "root" $root "value" .adapterSource.credentials "key" (include "lmstack.engine.adapterSecretKey" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- with $token }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      {{- include "lmstack.secretKeyRef" . | nindent 6 }}
{{- end }}
{{- if include "lmstack.hasSecret" $key }}
- name: VLLM_API_KEY
  valueFrom:
    secretKeyRef:
      {{- include "lmstack.secretKeyRef" (dict "root" $root "value" $key "key" "vllmApiKey") | nindent 6 }}
{{- end }}
{{- if $l.enabled }}
- name: LMCACHE_USE_EXPERIMENTAL
  value: "True"
- name: VLLM_RPC_TIMEOUT
  value: "1000000"
- name: LMCACHE_LOG_LEVEL
  value: {{ $l.logLevel | default "DEBUG" | quote }}
{{- end }}
{{- if not (kindIs "invalid" $l.cudaVisibleDevices) }}
- name: CUDA_VISIBLE_DEVICES
  value: {{ include "lmstack.text" $l.cudaVisibleDevices | quote }}
{{- end }}
{{- if $l.enablePD }}
- name: LMCACHE_LOCAL_CPU
  value: "False"
- name: LMCACHE_MAX_LOCAL_CPU_SIZE
  value: "0"
- name: LMCACHE_REMOTE_SERDE
  value: "NULL"
- name: UCX_TLS
  value: "cuda_ipc,cuda_copy,tcp"
{{- range list (list "enableNixl" "ENABLE_NIXL") (list "nixlRole" "NIXL_ROLE") (list "nixlPeerHost" "NIXL_RECEIVER_HOST") (list "nixlPeerPort" "NIXL_RECEIVER_PORT") (list "nixlBufferSize" "NIXL_BUFFER_SIZE") (list "nixlBufferDevice" "NIXL_BUFFER_DEVICE") (list "nixlEnableGc" "NIXL_ENABLE_GC") }}
{{- $value := index $l (first .) }}
{{- if not (kindIs "invalid" $value) }}
- name: LMCACHE_{{ last . }}
  value: {{ ternary (title (toString $value)) (include "lmstack.text" $value) (kindIs "bool" $value) | quote }}
{{- end }}
{{- end }}
{{- else if gt (float64 ($l.cpuOffloadingBufferSize | default 0)) 0.0 }}
- name: LMCACHE_LOCAL_CPU
  value: "True"
- name: LMCACHE_MAX_LOCAL_CPU_SIZE
  value: {{ include "lmstack.text" $l.cpuOffloadingBufferSize | quote }}
{{- end }}
{{- if gt (float64 ($l.diskOffloadingBufferSize | default 0)) 0.0 }}
- name: LMCACHE_LOCAL_DISK
  value: "file://{{ ternary "/data" "/tmp" (eq (include "lmstack.engine.hasVolume" $m) "yes") }}/lmcache/"
- name: LMCACHE_MAX_LOCAL_DISK_SIZE
  value: {{ include "lmstack.text" $l.diskOffloadingBufferSize | quote }}
{{- end }}
{{- end -}}

{{/* Environment of the simulator: what it knows of the same settings. */}}
{{- define "lmstack.engine.simulatorEnv" -}}
{{- $key := .root.Values.servingEngineSpec.vllmApiKey -}}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- if include "lmstack.hasSecret" $key }}
- name: LMSTACK_API_KEY
  valueFrom:
    secretKeyRef:
      {{- include "lmstack.secretKeyRef" (dict "root" .root "value" $key "key" "vllmApiKey") | nindent 6 }}
{{- end }}
{{- end -}}
