"""The number that a loss is multiplied with before the backward pass, so that small gradients do not vanish in float16.

P. Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2; the numbers of the dynamic one are those of
MXNet's AMP. The authors of ATAC had none, which is a scale of 1.
"""
FIRST, LARGEST, FACTOR, WINDOW = 2.0 ** 16, 2.0 ** 24, 2.0, 2000


class LossScale:
    """A fixed number, or one that finds itself.   scale.value: what to multiply the next loss with

    setting: a number, or 'dynamic', which begins at 2^16. A step whose gradient is not finite is left out, and the
    scale is halved; after 2,000 finite steps in a row it is doubled, up to 2^24. steps: how many these have been.
    """

    def __init__(self, setting=1.0):
        self.dynamic = setting == 'dynamic'
        self.value = FIRST if self.dynamic else float(setting)
        self.steps = 0

    def after(self, finite, place=''):
        """Follow the verdict on a gradient. Raises FloatingPointError, naming the place, if no smaller one is left."""
        if not finite and self.value <= 1:
            raise FloatingPointError('the gradient is not finite at a loss scale of 1 either%s' % place)
        self.steps = self.steps + 1 if finite else 0
        if not finite:
            self.value /= FACTOR
        elif self.steps == WINDOW:
            self.value = min(self.value * FACTOR, LARGEST)
            self.steps = 0

    def state(self):
        """For the checkpoint."""
        return {'value': self.value, 'steps': self.steps}

    def restore(self, state):
        self.value = state['value']
        self.steps = state['steps']
