"""Tables in Markdown."""


def markdown_table(head, rows):
    """The lines of a table, below its head, as one text.   rows: of text"""
    lines = [head, ['---'] * len(head), *([cell.replace('|', '\\|') for cell in row] for row in rows)]
    return '\n'.join('| %s |' % ' | '.join(line) for line in lines)
