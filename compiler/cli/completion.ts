/** `wasmith completion bash|zsh|fish`: completion of commands, options and their values, out of what the commands say of themselves. */

import { Argument, Command, type Option } from "commander";

const shells = ["bash", "zsh", "fish"] as const;

export function completionCommand(): Command {
  return new Command("completion")
    .addArgument(new Argument("<shell>").choices(shells))
    .action((shell: (typeof shells)[number], _, command: Command) => {
      console.log(scripts[shell](commandsOf(command.parent!)));
    });
}

interface Described {
  readonly name: string;
  readonly description: string;
  readonly options: readonly Option[];
  readonly choices: readonly string[];
}

const commandsOf = (program: Command): readonly Described[] =>
  program.commands.map((c) => ({
    name: c.name(),
    description: c.description().split("\n")[0]!,
    options: c.createHelp().visibleOptions(c),
    choices: c.registeredArguments.flatMap((a) => a.argChoices ?? []),
  }));

const flagsOf = (o: Option): readonly string[] => [o.short, o.long].filter((f): f is string => f !== undefined);
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const takesValue = (o: Option): boolean => o.required || o.optional;

const scripts: { readonly [S in (typeof shells)[number]]: (commands: readonly Described[]) => string } = {
  bash: (commands) => `_wasmith() {
  local cur=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} words=
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quoted([...commands.map((c) => c.name), "help", "--help", "--version"].join(" "))} -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]} $before" in
${commands
  .flatMap((c) =>
    c.options
      .filter((o) => o.argChoices)
      .map(
        (o) =>
          `    ${flagsOf(o)
            .map((f) => quoted(`${c.name} ${f}`))
            .join("|")}) words=${quoted(o.argChoices!.join(" "))} ;;`,
      ),
  )
  .join("\n")}
    *) case "\${COMP_WORDS[1]}" in
${commands
  .map((c) => {
    const flags = quoted(c.options.flatMap(flagsOf).join(" "));
    const own = c.choices.length > 0 ? `words=${quoted(c.choices.join(" "))}; ` : "";
    return `      ${c.name}) ${own}if [[ $cur == -* ]]; then words=${flags}; fi ;;`;
  })
  .join("\n")}
      help) words=${quoted(commands.map((c) => c.name).join(" "))} ;;
    esac ;;
  esac
  if [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); else COMPREPLY=($(compgen -f -- "$cur")); fi
}
complete -o filenames -F _wasmith wasmith`,

  zsh: (commands) => {
    // Of _arguments: colons and brackets have a meaning there.
    const told = (text: string) => text.replace(/[[\]:\\]/g, "\\$&");
    const option = (o: Option): readonly string[] => {
      const value = takesValue(o) ? `:value:${o.argChoices ? `(${o.argChoices.join(" ")})` : "_files"}` : "";
      return flagsOf(o).map((f) => quoted(`*${f}[${told(o.description)}]${value}`));
    };
    const rest = (c: Described) => quoted(c.choices.length > 0 ? `*:value:(${c.choices.join(" ")})` : "*:file:_files");
    return `#compdef wasmith
_wasmith() {
  if ((CURRENT == 2)); then
    local -a commands=(
${commands.map((c) => `      ${quoted(`${c.name}:${told(c.description)}`)}`).join("\n")}
    )
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${commands.map((c) => `    ${c.name}) _arguments ${[...c.options.flatMap(option), rest(c)].join(" ")} ;;`).join("\n")}
  esac
}
compdef _wasmith wasmith`;
  },

  fish: (commands) => {
    const lines = commands.flatMap((c) => [
      `complete -c wasmith -n __fish_use_subcommand -f -a ${c.name} -d ${quoted(c.description)}`,
      ...(c.choices.length > 0
        ? [`complete -c wasmith -n '__fish_seen_subcommand_from ${c.name}' -f -a ${quoted(c.choices.join(" "))}`]
        : []),
      ...c.options.map((o) => {
        const short = o.short ? ` -s ${o.short.slice(1)}` : "";
        const long = o.long ? ` -l ${o.long.slice(2)}` : "";
        const value = o.argChoices ? ` -x -a ${quoted(o.argChoices.join(" "))}` : takesValue(o) ? " -r" : "";
        return `complete -c wasmith -n '__fish_seen_subcommand_from ${c.name}'${short}${long}${value} -d ${quoted(o.description)}`;
      }),
    ]);
    return lines.join("\n");
  },
};
