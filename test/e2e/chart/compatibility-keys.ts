// The keys of production-stack's chart (0.1.12), as its users have them in their files. Each must have its effect here, or
// be one of the refusals: chart-values.test.ts holds the list against the tests.

const servingEngineSpec =
  "enableEngine labels extraPorts vllmApiKey{secretName secretKey} containerPort servicePort configs strategy startupProbe livenessProbe readinessProbe tolerations runtimeClassName schedulerName imagePullPolicy securityContext containerSecurityContext sidecar{image imagePullPolicy} serviceMonitor{enabled additionalLabels interval scrapeTimeout honorLabels metricRelabelings relabelings} env";

const model =
  "name enabled annotations podAnnotations labels podLabels serviceAnnotations serviceAccountName priorityClassName runtimeClassName repository tag imagePullSecret modelURL modelRevision chatTemplate chatTemplateConfigMap replicaCount keda{enabled minReplicaCount maxReplicaCount pollingInterval cooldownPeriod idleReplicaCount initialCooldownPeriod fallback{failureThreshold replicas} triggers advanced{restoreToOriginalReplicaCount horizontalPodAutoscalerConfig{name behavior} scalingModifiers{target activationTarget metricType formula}}} pdb{enabled labels annotations minAvailable maxUnavailable} resources requestCPU requestMemory requestGPU requestGPUType requestGPUMem requestGPUMemPercentage requestGPUCores limitCPU limitMemory limitGPUMem limitGPUMemPercentage limitGPUCores shmSize pvcStorage pvcAccessMode storageClass pvcMatchLabels pvcLabels pvcAnnotations pvcExistingClaimName extraVolumes extraVolumeMounts initContainer{name image command args env resources mountPvcStorage extraVolumeMounts} vllmConfig{v0 v1 enablePrefixCaching enableChunkedPrefill maxModelLen dtype tensorParallelSize pipelineParallelSize maxNumSeqs maxLoras gpuMemoryUtilization runner convert extraArgs prometheusMultiprocDir} lmcacheConfig{enabled cpuOffloadingBufferSize diskOffloadingBufferSize logLevel kvRole enablePD enableNixl nixlRole nixlPeerHost nixlPeerPort nixlBufferSize nixlBufferDevice nixlEnableGc cudaVisibleDevices enableController instanceId controllerPort controllerReplyPort workerPorts p2pHost p2pInitPorts workerHeartbeatTime} hf_token{secretName secretKey} envFromSecret{name} env affinity nodeSelectorTerms nodeName tolerations tolerationsPolicy enableLoRA enableTool toolCallParser raySpec{enabled headNode{requestCPU requestMemory requestGPU resources initContainer}}";

const routerSpec =
  "enableRouter repository tag imagePullPolicy imagePullSecrets serviceAccountName hf_token securityContext containerSecurityContext extraVolumes extraVolumeMounts replicaCount env autoscaling{enabled minReplicas maxReplicas targetCPUUtilizationPercentage} pdb{enabled labels annotations minAvailable maxUnavailable} priorityClassName containerPort serviceType serviceAnnotations nodePort servicePort serviceDiscovery k8sServiceDiscoveryType staticBackends staticModels routingLogic prefixMinMatchLength sessionKey rootPath extraArgs extraPorts engineScrapeInterval requestStatsWindow otel{endpoint serviceName secure} strategy vllmApiKey{secretName secretKey} lmcacheConfig{logLevel} lmcacheControllerPort lmcacheControllerReplyPort lmcacheControllerHeartbeatPort resources labels podAnnotations ingress{enabled className annotations hosts{host paths} tls} route{main{enabled apiVersion kind annotations labels hostnames parentRefs httpsRedirect matches filters additionalRules}} affinity nodeSelectorTerms livenessProbe startupProbe readinessProbe serviceMonitor{enabled additionalLabels interval scrapeTimeout honorLabels metricRelabelings relabelings}";

const loraAdapter =
  "name enabled baseModel vllmApiKey adapterSource{type adapterName adapterPath repository pattern maxAdapters credentials} loraAdapterDeploymentConfig{algorithm replicas} labels";

const sharedPvcStorage = "enabled size accessModes storageClass hostPath nfs{server path} image{repository tag}";

const cacheserverSpec =
  "enabled image{repository tag} imagePullPolicy imagePullSecrets replicaCount containerPort serviceType servicePort serviceAnnotations resources annotations labels strategy livenessProbe tolerations runtimeClassName schedulerName securityContext containerSecurityContext priorityClassName nodeSelector affinity serde";

const loraController =
  "enableLoraController kubernetesClusterDomain serviceAccountName replicaCount image imagePullSecrets annotations labels podAnnotations podLabels podSecurityContext containerSecurityContext resources nodeSelector affinity tolerations env extraArgs metrics{enabled} webhook{enabled} pdb";

/** `a b{c d}` -> `a`, `b.c`, `b.d`: the leaves. */
function leaves(text: string): string[] {
  const found: string[] = [];
  const path: string[] = [];
  for (const [token] of text.matchAll(/[\w]+\{|\w+|\}/g)) {
    if (token === "}") path.pop();
    else if (token.endsWith("{")) path.push(token.slice(0, -1));
    else found.push([...path, token].join("."));
  }
  return found;
}

export const keysOf = {
  model: leaves(model),
  servingEngineSpec: leaves(servingEngineSpec),
  routerSpec: leaves(routerSpec),
  loraAdapters: leaves(loraAdapter),
  sharedPvcStorage: leaves(sharedPvcStorage),
  cacheserverSpec: leaves(cacheserverSpec),
  loraController: leaves(loraController),
} as const;
