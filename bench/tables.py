"""Figures into Markdown, and the page of results."""
import datetime
import statistics

HEADER = """# Results

Written by `make bench` and `make bench-disk`; each replaces the sections that it has measured, so
every section carries its date. rq syncs before each OK unless a line says otherwise. A life is
put + reserve + delete of one message. Servers take turns, run by run; a ratio is the median of the
ratios of the rounds, so that a machine that changes its speed changes no ratio.
"""
MACHINE = 'The machine'
BY_HAND = 'Measured by hand'   # a section that begins so is no row of the bench, and stays


def number(value):
    """1234567 -> '1,234,567'; small ones with two or three digits that matter."""
    if value is None:
        return '–'
    if abs(value) >= 100 or float(value).is_integer():
        return f'{value:,.0f}'
    return f'{value:.1f}' if abs(value) >= 10 else f'{value:.2f}'


def ratio(value):
    return f'{value:.2f} ×'


class Verdicts:
    """Which demands were met; printed at the end of a run."""

    def __init__(self):
        self.met = []
        self.missed = []

    def demand(self, what, value, bound, at_most=False, show=number):
        """A cell such as '2 ×: met'; empty when nothing is demanded."""
        if bound is None:
            return ''
        good = value <= bound if at_most else value >= bound
        (self.met if good else self.missed).append(
            f'{what}: {show(value)}, demanded {"at most" if at_most else "at least"} {show(bound)}')
        return f'{"≤" if at_most else "≥"} {show(bound)}: {"met" if good else "**not met**"}'

    @staticmethod
    def aim(value, bound, at_most=False, show=number):
        if bound is None:
            return ''
        good = value <= bound if at_most else value >= bound
        return f'{"≤" if at_most else "≥"} {show(bound)}: {"reached" if good else "not yet"}'


def table(headers, rows, figures=True):
    """The first column is text; so are the others without `figures`."""
    cells = [[str(c) for c in row] for row in [headers, *rows]]
    width = [max(len(row[i]) for row in cells) for i in range(len(headers))]

    def line(row):
        padded = [row[0].ljust(width[0])]
        padded += [c.rjust(w) if figures else c.ljust(w) for c, w in zip(row[1:], width[1:])]
        return '| ' + ' | '.join(padded) + ' |'

    end = ':' if figures else '-'
    rule = '|' + '-' * (width[0] + 2) + '|' + '|'.join('-' * (w + 1) + end for w in width[1:]) + '|'
    return '\n'.join([line(cells[0]), rule, *(line(row) for row in cells[1:])])


def spread(values):
    """[median, min, max] as cells."""
    return [number(statistics.median(values)), number(min(values)), number(max(values))]


def paired_ratio(ours, theirs):
    """Median over rounds; None when there is nothing to divide by."""
    pairs = [a / b for a, b in zip(ours, theirs) if b > 0]
    return statistics.median(pairs) if pairs else None


class Page:
    """RESULTS.md: a header, the machine, and one section a row of the bench, in the order given."""

    def __init__(self, path, titles):
        self.path = path
        self.titles = titles
        self.sections = self._read()

    def _read(self):
        if not self.path.exists():
            return {}
        parts = self.path.read_text().split('\n## ')[1:]
        return {title: text.strip() for title, _, text in (p.partition('\n') for p in parts)}

    def set_machine(self, facts):
        text = table(['What', 'Here'], facts, figures=False)
        was = [[cell.strip() for cell in line.strip('|').split('|')]
               for line in self.sections.get(MACHINE, '').splitlines()]
        # Figures of another machine do not belong beside these.
        if was and any([what, value] not in was for what, value in facts[:2]):
            self.sections = {}
        self.sections[MACHINE] = text

    def set(self, title, text):
        self.sections[title] = text
        self.write()

    def write(self):
        known = [t for t in [MACHINE, *self.titles] if t in self.sections]
        known += [t for t in self.sections if t not in known and self.sections[t].startswith(BY_HAND)]
        body = ''.join(f'\n## {t}\n\n{self.sections[t]}\n' for t in known)
        self.path.write_text(HEADER + body)


def dateline(mode, commit, load):
    today = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC')
    return f'{today} · {mode} run · rq {commit} · load of the machine before it {load:.1f}'
