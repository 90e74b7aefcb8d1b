# Completion of cmdop for bash. Made by `cmdop completion bash`.
_cmdop() {
    local typed=${COMP_LINE:0:COMP_POINT} part=${COMP_WORDS[COMP_CWORD]} value
    local -a words
    read -ra words <<<"$typed"
    [[ $typed == *[[:space:]] ]] && words+=("")
    # Bash breaks words at = and : and replaces only the last piece, so the pieces before it are cut off again.
    [[ $part == [=:] ]] && part=
    local before=${words[${#words[@]} - 1]%"$part"}
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        COMPREPLY+=("${value#"$before"}")
    done < <("${words[0]}" complete "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _cmdop cmdop
