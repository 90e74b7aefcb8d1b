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
