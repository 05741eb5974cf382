{{/* Unknown keys of the values, each with the known key that was likely meant. The tree of known keys is generated. */}}

{{/* Adds to .found.problems. (dict "given" map "known" map "all" map "path" text "found" dict) */}}
{{- define "lmstack.unknownKeys" -}}
{{- $in := . -}}
{{- range $key, $value := .given -}}
{{- $path := ternary $key (printf "%s.%s" $in.path $key) (eq $in.path "") -}}
{{- if hasKey $in.known "*" -}}
{{- if kindIs "map" $value }}{{ include "lmstack.unknownKeys" (dict "given" $value "known" (get $in.known "*") "all" $in.all "path" $path "found" $in.found) }}{{ end -}}
{{- else if not (hasKey $in.known $key) -}}
{{- $near := include "lmstack.nearest" (dict "word" $key "known" (keys $in.known)) -}}
{{- $hint := "docs/helm-values.md lists the keys" -}}
{{- if $near }}{{ $hint = printf "did you mean %s?" (ternary $near (printf "%s.%s" $in.path $near) (eq $in.path "")) -}}
{{- else -}}
{{- range $section, $inner := $in.all }}{{ if and (kindIs "map" $inner) (hasKey $inner $key) }}{{ $hint = printf "did you mean %s.%s?" $section $key }}{{ end }}{{ end -}}
{{- end -}}
{{- $_ := set $in.found "problems" (append $in.found.problems (printf "%s: unknown key; %s" $path $hint)) -}}
{{- else -}}
{{- $inner := get $in.known $key -}}
{{- if and (kindIs "map" $inner) (kindIs "map" $value) -}}
{{- include "lmstack.unknownKeys" (dict "given" $value "known" $inner "all" $in.all "path" $path "found" $in.found) -}}
{{- else if and (kindIs "slice" $inner) (kindIs "slice" $value) -}}
{{- range $at, $entry := $value -}}
{{- if kindIs "map" $entry -}}
{{- include "lmstack.unknownKeys" (dict "given" $entry "known" (first $inner) "all" $in.all "path" (printf "%s[%d]" $path $at) "found" $in.found) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The known word that shares most pairs of letters with a word, or the one with the same letters; empty if none is near. */}}
{{- define "lmstack.nearest" -}}
{{- $word := .word | lower | replace "_" "" | replace "-" "" -}}
{{- $letters := splitList "" $word | sortAlpha | join "" -}}
{{- $best := "" -}}
{{- $bestScore := 44 -}}
{{- range $candidate := sortAlpha .known -}}
{{- $other := $candidate | lower | replace "_" "" | replace "-" "" -}}
{{- $score := 0 -}}
{{- if eq $other $word }}{{ $score = 100 -}}
{{- else if eq $letters (splitList "" $other | sortAlpha | join "") }}{{ $score = 90 -}}
{{- else -}}
{{- $shared := 0 -}}
{{- range $at := until (int (max 0 (sub (len $word) 1))) -}}
{{- if contains (substr $at (int (add $at 2)) $word) $other }}{{ $shared = add1 $shared }}{{ end -}}
{{- end -}}
{{- $pairs := int (max 1 (sub (add (len $word) (len $other)) 2)) -}}
{{- /* never as good as the same letters */ -}}
{{- $score = min 89 (div (mul 200 $shared) $pairs) | int -}}
{{- end -}}
{{- if gt $score $bestScore }}{{ $best = $candidate }}{{ $bestScore = $score }}{{ end -}}
{{- end -}}
{{- $best -}}
{{- end -}}

{{/* Every template begins with it, since nobody knows which is rendered first: sections that a values file leaves out or
     sets to null (`otel:` with nothing behind it) become empty ones, so that templates may look into them; then the values
     are checked, before another template stumbles over them. */}}
{{- define "lmstack.begin" -}}
{{- if not (hasKey .Values "lmstackChecked") -}}
{{- include "lmstack.sections" (dict "given" .Values "known" (.Files.Get "files/known.json" | fromJson).values) -}}
{{- include "lmstack.requirements" . -}}
{{- $_ := set .Values "lmstackChecked" true -}}
{{- end -}}
{{- end -}}

{{- define "lmstack.sections" -}}
{{- $given := .given -}}
{{- range $key, $inner := .known -}}
{{- if and (kindIs "map" $inner) (not (hasKey $inner "*")) -}}
{{- if kindIs "invalid" (get $given $key | default nil) }}{{ $_ := set $given $key dict }}{{ end -}}
{{- $value := get $given $key -}}
{{- if kindIs "map" $value }}{{ include "lmstack.sections" (dict "given" $value "known" $inner) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
