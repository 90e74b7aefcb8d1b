"""The scripts by which four shells ask ``cmdop complete``; ``make docs`` writes them to ``completions/``."""

BASH = r"""
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
"""

ZSH = r"""
#compdef cmdop
# Completion of cmdop for zsh. Made by `cmdop completion zsh`.
_cmdop() {
    local -a found
    local value text
    while IFS=$'\t' read -r value text; do
        found+=("${value//:/\\:}${text:+:$text}")
    done < <("${words[1]}" complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)
    if (( $#found )); then
        _describe cmdop found
    else
        _files
    fi
}
if [[ $funcstack[1] == _cmdop ]]; then
    _cmdop "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef _cmdop cmdop
fi
"""

FISH = r"""
# Completion of cmdop for fish. Made by `cmdop completion fish`.
function __cmdop_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l found ($words[1] complete $words[2..-1] "$last" 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path "$last"
    end
end
complete -c cmdop -f -a '(__cmdop_complete)'
"""

PWSH = r"""
# Completion of cmdop for PowerShell. Made by `cmdop completion pwsh`.
Register-ArgumentCompleter -Native -CommandName cmdop -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.ToString() })
    $last = $wordToComplete
    # PowerShell before 7.3 drops an empty argument unless it is quoted twice.
    if ($last -eq '' -and $PSVersionTable.PSVersion -lt [version]'7.3') { $last = '""' }
    $before = @($words | Select-Object -Skip 1)
    & $words[0] complete @before $last 2>$null | ForEach-Object {
        $value, $text = $_ -split "`t", 2
        if (-not $text) { $text = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $text)
    }
}
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH, "pwsh": PWSH}
