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
