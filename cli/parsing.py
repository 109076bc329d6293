"""From the table of flags to the parser of a script, and from a command line to its flags."""
import argparse
import shlex
import sys

from cli import flags
from cli.command import Parser

NOT_GIVEN = object()


def parser_of(script, description):
    """A Parser with the flags of a script, under their headings."""
    prog = f'{script}.py' if script in flags.SCRIPTS else f'python -m tools.{script}'
    parser = Parser(prog=prog, description=description)
    groups = {}
    parser.script = script
    for flag in flags.FLAGS:
        if script in flag.of:
            if flag.group not in groups:
                groups[flag.group] = parser.add_argument_group(flag.group)
            groups[flag.group].add_argument(*flag.names, **flag.keywords_of(script))
    return parser


def parse(parser, argv):
    """The flags as read() reads them; leaves with 2 if one does nothing without another flag, or beside another one."""
    args = read(parser, argv)
    check_needs(parser, args)
    return args


def read(parser, argv):
    """The flags, and beside them .command, as a shell would take it, and .given, the names of those that were given."""
    argv = sys.argv[1:] if argv is None else [str(word) for word in argv]
    names = [action.dest for action in parser._actions if action.dest != 'help']
    args = parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(names, NOT_GIVEN)))
    given = {name for name in names if getattr(args, name, None) is not NOT_GIVEN}
    for name in names:
        if name not in given:
            setattr(args, name, parser.get_default(name))
    args.given = given
    args.command = ('python ' * parser.prog.endswith('.py')) + shlex.join([*parser.prog.split(), *argv])
    return args


def check_needs(parser, args):
    """Leave with 2 if a flag was given that does nothing without another one, or beside another one."""
    for flag in flags.FLAGS:
        if flag.dest in args.given and getattr(args, flag.dest) != parser.get_default(flag.dest):
            for need in flag.needs_of(parser.script):
                if not flags.meets(vars(args), need):
                    parser.error('%s does nothing without %s' % (flag.names[-1], flags.as_flag(need)))
            if flag.unless and getattr(args, flag.unless, None):
                other = flags.as_flag(flag.unless)
                parser.error('%s does nothing beside %s: give one of them' % (flag.names[-1], other))
