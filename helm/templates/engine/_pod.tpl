{{/* Pod template of an engine: metadata and spec. (dict "root" $ "model" m "node" "single" | "leader" | "worker") */}}
{{- define "lmstack.engine.pod" -}}
{{- $root := .root -}}
{{- $m := .model -}}
{{- $worker := eq .node "worker" -}}
{{- $spec := $root.Values.servingEngineSpec -}}
{{- $simulated := ($m.engine | default dict).simulated -}}
{{- $port := $spec.containerPort | int -}}
{{- $kv := $m.kvEvents | default dict -}}
{{- $component := ternary "engine-worker" "engine" $worker -}}
{{- $userLabels := ternary dict $spec.labels $worker -}}
{{- $annotations := mergeOverwrite (include "lmstack.engine.annotations" (dict "root" $root "model" $m) | fromYaml) ($m.podAnnotations | default dict) -}}
metadata:
  labels:
    {{- include "lmstack.labels" (dict "root" $root "component" $component "model" $m "labels" (list $userLabels $m.podLabels (include "lmstack.engine.roleLabels" $m | fromYaml))) | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- range $key, $value := . }}
    {{ $key }}: {{ include "lmstack.text" $value | quote }}
    {{- end }}
  {{- end }}
spec:
  {{- with $m.serviceAccountName }}
  serviceAccountName: {{ . | quote }}
  {{- else }}
  automountServiceAccountToken: false
  {{- end }}
  # variables of Services could be read as settings
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "lmstack.engine.grace" $spec }}
  {{- with $m.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- $runtimeClass := ternary $spec.runtimeClassName $m.runtimeClassName (kindIs "invalid" $m.runtimeClassName) }}
  {{- if and $runtimeClass (not $simulated) }}
  runtimeClassName: {{ $runtimeClass | quote }}
  {{- end }}
  {{- with $spec.schedulerName }}
  schedulerName: {{ . | quote }}
  {{- end }}
  {{- $pullSecrets := $spec.imagePullSecrets | default list }}
  {{- with $m.imagePullSecret }}{{ $pullSecrets = append $pullSecrets (dict "name" .) }}{{ end }}
  {{- if $simulated }}{{ $pullSecrets = concat $pullSecrets ($root.Values.routerSpec.imagePullSecrets | default list) }}{{ end }}
  {{- with $pullSecrets }}
  imagePullSecrets:
    {{- toYaml (uniq .) | nindent 4 }}
  {{- end }}
  {{- with include "lmstack.engine.podSecurity" . | fromJson }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $m.nodeSelector }}
  nodeSelector:
    {{- include "lmstack.texts" . | nindent 4 }}
  {{- end }}
  {{- if $m.nodeName }}
  nodeName: {{ $m.nodeName | quote }}
  {{- else if $m.affinity }}
  affinity:
    {{- toYaml $m.affinity | nindent 4 }}
  {{- else if $m.nodeSelectorTerms }}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          {{- toYaml $m.nodeSelectorTerms | nindent 10 }}
  {{- end }}
  {{- $tolerations := ternary ($m.tolerations | default list) (concat ($spec.tolerations | default list) ($m.tolerations | default list)) (eq ($m.tolerationsPolicy | default "append") "override") }}
  {{- with $tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $extras := dict }}
  {{- range $key := list "topologySpreadConstraints" "hostAliases" "dnsConfig" }}{{ $_ := set $extras $key (get $m $key | default (get $spec $key)) }}{{ end }}
  {{- with include "lmstack.podExtras" $extras | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "lmstack.engine.initContainers" . | trim }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: vllm
      {{- if $simulated }}
      image: {{ include "lmstack.image" (dict "repository" ($m.engine.repository | default $root.Values.routerSpec.repository) "tag" ($m.engine.tag | default $root.Values.routerSpec.tag | default $root.Chart.AppVersion)) | quote }}
      {{- with $root.Values.routerSpec.imagePullPolicy | default $spec.imagePullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      args:
        {{- toYaml (include "lmstack.engine.simulatorArgs" . | fromJsonArray) | nindent 8 }}
      {{- else }}
      image: {{ include "lmstack.image" (dict "repository" $m.repository "tag" $m.tag) | quote }}
      {{- with $spec.imagePullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      # LMCache's images keep vllm in a virtual environment that is not in their PATH
      command: [sh, -c, 'export PATH="/opt/venv/bin:$PATH"; exec vllm "$@"', vllm]
      args:
        {{- toYaml (include "lmstack.engine.vllmArgs" . | fromJsonArray) | nindent 8 }}
      {{- end }}
      env:
        {{- include (ternary "lmstack.engine.simulatorEnv" "lmstack.engine.env" (eq $simulated true)) (dict "root" $root "model" $m) | nindent 8 }}
        {{- with concat ($spec.env | default list) ($m.env | default list) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if or $spec.configs ($m.envFromSecret | default dict).name }}
      envFrom:
        {{- if $spec.configs }}
        - configMapRef:
            name: "{{ $root.Release.Name }}-configs"
        {{- end }}
        {{- with ($m.envFromSecret | default dict).name }}
        - secretRef:
            name: {{ . | quote }}
        {{- end }}
      {{- end }}
      {{- if not $worker }}
      ports:
        - name: container-port
          containerPort: {{ $port }}
        {{- if $kv.enabled }}
        - name: kv-events
          containerPort: {{ $kv.port | default 5557 | int }}
        - name: kv-replay
          containerPort: {{ $kv.replayPort | default 5558 | int }}
        {{- end }}
      {{- $fast := dict "initialDelaySeconds" 0 "periodSeconds" 1 }}
      {{- with mergeOverwrite (deepCopy $spec.startupProbe) (deepCopy (ternary $fast dict (eq $simulated true))) (deepCopy ($m.startupProbe | default dict)) }}
      startupProbe:
        {{- include "lmstack.probe" (dict "port" "container-port" "probe" .) | nindent 8 }}
      {{- end }}
      {{- with mergeOverwrite (deepCopy $spec.livenessProbe) (deepCopy ($m.livenessProbe | default dict)) }}
      livenessProbe:
        {{- include "lmstack.probe" (dict "port" "container-port" "probe" .) | nindent 8 }}
      {{- end }}
      {{- with mergeOverwrite (deepCopy $spec.readinessProbe) (deepCopy (ternary $fast dict (eq $simulated true))) (deepCopy ($m.readinessProbe | default dict)) }}
      readinessProbe:
        {{- include "lmstack.probe" (dict "port" "container-port" "probe" .) | nindent 8 }}
      {{- end }}
      {{- if $spec.drain.enabled }}
      {{- $times := list (toString $port) (include "lmstack.text" $spec.drain.delaySeconds) (include "lmstack.text" $spec.drain.timeoutSeconds) }}
      lifecycle:
        preStop:
          exec:
            command:
              {{- if $simulated }}
              {{- toYaml (concat (list "node" "--input-type=module" "-e" ($root.Files.Get "files/engine/drain.mjs")) $times) | nindent 14 }}
              {{- else }}
              {{- toYaml (concat (list "sh" "-c" "export PATH=\"/opt/venv/bin:$PATH\"; exec python3 -c \"$0\" \"$@\"" ($root.Files.Get "files/engine/drain.py")) $times) | nindent 14 }}
              {{- end }}
      {{- end }}
      {{- end }}
      {{- with include "lmstack.engine.containerSecurity" . | fromJson }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if $simulated }}
      resources:
        {{- toYaml ($m.engine.resources | default (dict "requests" (dict "cpu" "50m" "memory" "128Mi") "limits" (dict "memory" "512Mi"))) | nindent 8 }}
      {{- else }}
      {{- $resources := include "lmstack.engine.resources" $m }}
      {{- if and $worker $m.multiNode.workerResources }}{{ $resources = toYaml $m.multiNode.workerResources }}{{ end }}
      resources:
        {{- $resources | nindent 8 }}
      {{- end }}
      {{- with include "lmstack.engine.mounts" . | trim }}
      volumeMounts:
        {{- . | nindent 8 }}
      {{- end }}
    {{- if and $spec.sidecar.image (not $worker) }}
    {{- $s := $spec.sidecar }}
    - name: {{ $s.name | quote }}
      image: {{ $s.image | quote }}
      {{- range $key := list "imagePullPolicy" "command" "args" "env" "ports" "resources" "securityContext" }}
      {{- with get $s $key }}
      {{ $key }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- if and $s.mountPvcStorage (include "lmstack.engine.hasVolume" $m) }}
      volumeMounts:
        - name: "{{ $root.Release.Name }}-storage"
          mountPath: /data
      {{- end }}
    {{- end }}
    {{- with $m.sidecars | default $spec.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "lmstack.engine.volumes" . | trim }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Security contexts of the pod and of the engine's container, as JSON. */}}
{{- define "lmstack.engine.podSecurity" -}}
{{- $security := ternary .root.Values.servingEngineSpec.securityContext .model.securityContext (kindIs "invalid" .model.securityContext) -}}
{{- if (.model.engine | default dict).simulated }}{{ $security = mergeOverwrite (dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault")) (deepCopy ($security | default dict)) }}{{ end -}}
{{- toJson ($security | default dict) -}}
{{- end -}}

{{- define "lmstack.engine.containerSecurity" -}}
{{- $security := ternary .root.Values.servingEngineSpec.containerSecurityContext .model.containerSecurityContext (kindIs "invalid" .model.containerSecurityContext) -}}
{{- if (.model.engine | default dict).simulated }}{{ $security = dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "runAsNonRoot" true "capabilities" (dict "drop" (list "ALL")) }}{{ end -}}
{{- toJson ($security | default dict) -}}
{{- end -}}

{{/* Who owns what the engine writes, as in 1000:1000; empty = root. */}}
{{- define "lmstack.engine.owner" -}}
{{- $pod := include "lmstack.engine.podSecurity" . | fromJson -}}
{{- $own := include "lmstack.engine.containerSecurity" . | fromJson -}}
{{- $user := $own.runAsUser | default $pod.runAsUser | default 0 | int -}}
{{- if $user }}{{ $user }}:{{ $own.runAsGroup | default $pod.fsGroup | default $pod.runAsGroup | default $user | int }}{{ end -}}
{{- end -}}

{{/* Image of a container, given by repository and tag or in one word; empty = none. */}}
{{- define "lmstack.imageOf" -}}
{{- if kindIs "map" . -}}
{{- with .repository }}{{ include "lmstack.image" (dict "repository" . "tag" ($.tag | default "latest")) }}{{ end -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{- define "lmstack.engine.grace" -}}
{{- if kindIs "invalid" .terminationGracePeriodSeconds -}}
{{- ternary (add .drain.delaySeconds .drain.timeoutSeconds 30) 30 .drain.enabled -}}
{{- else -}}
{{- int .terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* What discovery reads beside the model and the port: docs/discovery.md. */}}
{{- define "lmstack.engine.roleLabels" -}}
{{- with .role }}
lmstack/role: {{ . }}
{{- end }}
{{- end -}}

{{- define "lmstack.engine.annotations" -}}
{{- $kv := .model.kvEvents | default dict -}}
{{- if $kv.enabled }}
{{- $ranks := include "lmstack.engine.flagValue" (dict "args" ((.model.vllmConfig | default dict).extraArgs) "flag" "--data-parallel-size") | default "1" }}
lmstack/kv-events: {{ printf "%d:%d:%s%s" ($kv.port | default 5557 | int) ($kv.replayPort | default 5558 | int) $ranks (ternary (printf "@%s" $kv.topic) "" (not (empty $kv.topic))) | quote }}
{{- end }}
{{- with .root.Values.servingEngineSpec.configs }}
checksum/configs: {{ toJson . | sha256sum | trunc 16 | quote }}
{{- end }}
{{- end -}}

{{- define "lmstack.engine.initContainers" -}}
{{- $root := .root -}}
{{- $m := .model -}}
{{- $storage := $root.Values.sharedPvcStorage -}}
{{- $owner := include "lmstack.engine.owner" . -}}
{{- $image := include "lmstack.imageOf" $storage.image -}}
{{- if and $storage.enabled $owner $image }}
# folders of nodes and NFS exports are root's, and no fsGroup changes that
- name: shared-storage-owner
  image: {{ $image | quote }}
  command: [sh, -c, '[ "$(stat -c %u:%g "$1")" = "$0" ] || chown -R "$0" "$1"', {{ $owner | quote }}, /data/shared-pvc-storage]
  securityContext:
    runAsUser: 0
    runAsGroup: 0
    runAsNonRoot: false
  volumeMounts:
    - name: "{{ $root.Release.Name }}-shared-pvc-storage"
      mountPath: /data/shared-pvc-storage
{{- end }}
{{- with $m.initContainer }}
- name: {{ .name | default "init" | quote }}
  image: {{ .image | quote }}
  {{- with .command }}
  command:
    {{- range . }}
    - {{ include "lmstack.text" . | quote }}
    {{- end }}
  {{- end }}
  {{- with .args }}
  args:
    {{- range . }}
    - {{ include "lmstack.text" . | quote }}
    {{- end }}
  {{- end }}
  env:
    - name: RELEASE_NAME
      value: {{ $root.Release.Name | quote }}
    {{- with .env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $storage := and .mountPvcStorage (include "lmstack.engine.hasVolume" $m) }}
  {{- if or $storage .extraVolumeMounts }}
  volumeMounts:
    {{- if $storage }}
    - name: "{{ $root.Release.Name }}-storage"
      mountPath: /data
    {{- end }}
    {{- with .extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if not ($m.engine | default dict).simulated }}
{{- range $adapter := include "lmstack.engine.adapters" . | fromJsonArray }}
{{- if has .adapterSource.type (list "http" "s3") }}
- name: {{ printf "adapter-%s" .name | replace "_" "-" | lower | trunc 63 | trimSuffix "-" | quote }}
  image: {{ include "lmstack.image" (dict "repository" $m.repository "tag" $m.tag) | quote }}
  command:
    - sh
    - -c
    - 'export PATH="/opt/venv/bin:$PATH"; exec python3 -c "$0" "$@"'
    - {{ $root.Files.Get "files/engine/fetch_adapter.py" | quote }}
    - {{ toJson (omit .adapterSource "credentials") | quote }}
    - {{ include "lmstack.engine.adapterPath" . | quote }}
  {{- with .adapterSource.credentials }}
  {{- if and (kindIs "map" .) .secretName (not .secretKey) }}
  envFrom:
    - secretRef:
        name: {{ .secretName | quote }}
  {{- else if include "lmstack.hasSecret" . }}
  env:
    - name: HTTP_TOKEN
      valueFrom:
        secretKeyRef:
          {{- include "lmstack.secretKeyRef" (dict "root" $root "value" . "key" (include "lmstack.engine.adapterSecretKey" $adapter)) | nindent 10 }}
  {{- end }}
  {{- end }}
  volumeMounts:
    - name: adapters
      mountPath: /adapters
{{- end }}
{{- end }}
{{- end }}
{{- with $m.initContainers | default $root.Values.servingEngineSpec.initContainers }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "lmstack.engine.fetches" -}}
{{- if not (.model.engine | default dict).simulated }}{{ range include "lmstack.engine.adapters" . | fromJsonArray }}{{ if has .adapterSource.type (list "http" "s3") }}yes{{ end }}{{ end }}{{ end -}}
{{- end -}}

{{- define "lmstack.engine.mounts" -}}
{{- $root := .root -}}
{{- $m := .model -}}
{{- if include "lmstack.engine.hasVolume" $m }}
- name: "{{ $root.Release.Name }}-storage"
  mountPath: /data
{{- end }}
{{- if include "lmstack.engine.shmSize" $m }}
- name: shm
  mountPath: /dev/shm
{{- end }}
{{- if or $m.chatTemplateConfigMap $m.chatTemplatePvc (include "lmstack.engine.inlineTemplate" $m) }}
- name: chat-templates
  mountPath: /templates
  readOnly: true
{{- end }}
{{- if include "lmstack.engine.fetches" . }}
- name: adapters
  mountPath: /adapters
{{- end }}
{{- if $root.Values.sharedPvcStorage.enabled }}
- name: "{{ $root.Release.Name }}-shared-pvc-storage"
  mountPath: /data/shared-pvc-storage
{{- end }}
{{- with $m.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "lmstack.engine.volumes" -}}
{{- $root := .root -}}
{{- $m := .model -}}
{{- $ownClaims := and (eq (include "lmstack.engine.kind" $m) "StatefulSet") (include "lmstack.engine.hasClaim" $m) -}}
{{- if and (include "lmstack.engine.hasVolume" $m) (not $ownClaims) }}
- name: "{{ $root.Release.Name }}-storage"
  {{- if $m.pvcExistingClaimName }}
  persistentVolumeClaim:
    claimName: {{ $m.pvcExistingClaimName | quote }}
  {{- else if kindIs "map" $m.pvcStorage }}
  emptyDir:
    {{- toYaml ($m.pvcStorage.emptyDir | default dict) | nindent 4 }}
  {{- else }}
  persistentVolumeClaim:
    claimName: "{{ $root.Release.Name }}-{{ $m.name }}-storage-claim"
  {{- end }}
{{- end }}
{{- with include "lmstack.engine.shmSize" $m }}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ . | quote }}
{{- end }}
{{- if $m.chatTemplatePvc }}
- name: chat-templates
  persistentVolumeClaim:
    claimName: {{ $m.chatTemplatePvc | quote }}
    readOnly: true
{{- else if or $m.chatTemplateConfigMap (include "lmstack.engine.inlineTemplate" $m) }}
- name: chat-templates
  configMap:
    name: "{{ $root.Release.Name }}-{{ $m.name }}-chat-templates"
{{- end }}
{{- if include "lmstack.engine.fetches" . }}
- name: adapters
  emptyDir: {}
{{- end }}
{{- if $root.Values.sharedPvcStorage.enabled }}
- name: "{{ $root.Release.Name }}-shared-pvc-storage"
  persistentVolumeClaim:
    claimName: {{ $root.Values.sharedPvcStorage.existingClaim | default (printf "%s-shared-pvc-storage-claim" $root.Release.Name) | quote }}
{{- end }}
{{- with $m.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
