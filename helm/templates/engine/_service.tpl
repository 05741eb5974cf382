{{/* Ports of a Service of engines. */}}
{{- define "lmstack.engine.servicePorts" -}}
- name: service-port
  port: {{ .servicePort | int }}
  targetPort: container-port
  protocol: TCP
{{- with .extraPorts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
