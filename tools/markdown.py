"""Tables in Markdown."""


def markdown_table(head, rows=()):
    """The lines of a table, below its head, as one text.   rows: of text"""
    return '\n'.join(map(markdown_row, [head, ['---'] * len(head), *rows]))


def markdown_row(cells):
    """A line of a table.   cells: text"""
    return '| %s |' % ' | '.join(cell.replace('|', '\\|') for cell in cells)
