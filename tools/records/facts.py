"""The .json beside a .rec of prepare_imagenet: its settings, its classes, their counts, and what was left out."""
from runtime import UserError

from data.recordio import MADE_BY, is_list, read_facts


def check_settings(path, settings):
    """UserError unless the .json that is there has these settings."""
    facts = settings_in(path)
    differing = [name for name in settings if facts.get(name) != settings[name]]
    if differing:
        parts = ['%s %.40s instead of %.40s' % (name, facts.get(name), settings[name]) for name in differing]
        raise UserError('%s* is there, made of other images or with other settings (%s): remove it, or choose another '
                        '--out' % (path[:-len('json')], ', '.join(parts)))


def report(done, final):
    """What the .json of a finished split says, after printing it in short."""
    facts = finished_facts(final)
    counts = facts['counts']
    print('%s.rec %s: %d images, %d classes of %d to %d, shorter side %d'
          % (final, done, sum(counts), len(counts), min(counts), max(counts), facts['size']))
    return facts


def finished_facts(stem):
    """The settings, `counts` and `left_out` of a .rec that was written to its end."""
    facts = settings_in(stem + '.json')
    if not is_list(facts.get('counts'), int) or not is_list(facts.get('left_out'), str) or \
            len(facts['counts']) != len(facts['class_names']):
        raise UserError('%s.json does not say how many images of each class were written' % stem)
    return facts


def settings_in(path):
    """The settings of a .rec from the .json beside it."""
    facts = read_facts(path)
    if facts is None or facts.get('made_by') != MADE_BY or not isinstance(facts.get('size'), int):
        raise UserError('%s is not there, or not a file of prepare_imagenet' % path)
    return facts
