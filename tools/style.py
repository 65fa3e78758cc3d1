"""How the code of the package reads, measured: `python tools/style.py [WING ...]`.

For each room: code lines, syntax nodes a code line (docstrings not counted), lines over 120 columns, statements that
share a line, and how many parameters and returns of public functions have a docment.
"""
import ast
import io
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'cryoseg'
MAX_COLUMNS = 120
MAX_NODES = 13                  # a code line, on average over a room
SILENT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@dataclass(frozen=True)
class Style:
    "What was counted in one room."
    room: str
    code_lines: int
    nodes: int
    long_lines: int
    shared_lines: int           # lines that hold more than one statement
    parameters: int             # of public functions, with the returns that are not None
    told: int                   # of these, those with a docment

    @property
    def density(self):
        "Syntax nodes a code line."
        return self.nodes / max(self.code_lines, 1)


def docstrings(tree):
    "The statements of `tree` that are docstrings."
    holders = (ast.Module, ast.FunctionDef, ast.ClassDef)
    firsts = [node.body[0] for node in ast.walk(tree) if isinstance(node, holders) and node.body]
    return [s for s in firsts if isinstance(s, ast.Expr) and isinstance(getattr(s.value, 'value', None), str)]


def code_lines(text, tree):
    "Numbers of the lines that hold code."
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT: lines |= set(range(token.start[0], token.end[0] + 1))
    for statement in docstrings(tree): lines -= set(range(statement.lineno, statement.end_lineno + 1))
    return lines


def shared_lines(tree):
    "Lines on which a second statement begins."
    starts, found = set(), set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt): continue
        (found if node.lineno in starts else starts).add(node.lineno)
    return found


def is_command(node):
    "Whether a function is a command of the command line: its parameters are explained by their options."
    return any(ast.unparse(d).startswith('app.') for d in node.decorator_list)


def public_functions(tree):
    "Functions and methods whose names, and whose class's name, do not begin with an underscore; commands left out."
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name[0] != '_' and not is_command(node): yield node
        if not isinstance(node, ast.ClassDef) or node.name[0] == '_': continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name[0] != '_': yield method


def docments(function, lines):
    "(wanted, told): parameters and the return of a function, and those that a comment on their line explains."
    arguments = [a for a in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs] if a.arg not in ('self', 'cls')]
    rows = [a.lineno for a in arguments]
    returns = function.returns
    if returns is not None and not (isinstance(returns, ast.Constant) and returns.value is None): rows.append(returns.end_lineno)
    told = sum(1 for row in rows if re.search(r'#\s*\S', lines[row - 1]))
    return len(rows), told


def measure(path):
    "The style of one room."
    text = path.read_text(encoding='utf-8')
    tree, lines = ast.parse(text), text.splitlines()
    counted = [docments(f, lines) for f in public_functions(tree)]
    nodes = sum(1 for _ in ast.walk(tree)) - 2 * len(docstrings(tree))
    body = [line for line in lines if not line.startswith(('# ', '__all__'))]
    return Style('.'.join(path.relative_to(PACKAGE).with_suffix('').parts), len(code_lines(text, tree)), nodes,
                 sum(len(line) > MAX_COLUMNS for line in body), len(shared_lines(tree)),
                 sum(n for n, _ in counted), sum(n for _, n in counted))


def rooms(wings=()):
    "The files of the rooms, of some wings where they are named."
    return [p for p in sorted(PACKAGE.glob('*/*.py')) if not p.stem.startswith('_') and (not wings or p.parent.name in wings)]


def main():
    measured = [measure(p) for p in rooms(sys.argv[1:])]
    print(f'{"room":24}{"lines":>7}{"nodes/line":>12}{"long":>6}{"shared":>8}{"docments":>12}')
    for s in measured:
        print(f'{s.room:24}{s.code_lines:7}{s.density:12.1f}{s.long_lines:6}{s.shared_lines:8}{s.told:7}/{s.parameters}')
    total = sum(s.nodes for s in measured) / max(sum(s.code_lines for s in measured), 1)
    print(f'{"all":24}{sum(s.code_lines for s in measured):7}{total:12.1f}{sum(s.long_lines for s in measured):6}'
          f'{sum(s.shared_lines for s in measured):8}{sum(s.told for s in measured):7}/{sum(s.parameters for s in measured)}')


if __name__ == '__main__': main()
