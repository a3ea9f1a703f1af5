"""What differential privacy really hides: canary patients are put into a training run and guessed from its release.

`canaries` makes the patients, `run` trains with the mechanism of the sites, `bound` and `repeated` turn guesses into an
epsilon that is refuted with 95 % confidence, `planted` holds mistakes that the audit must find, `study` the table.
"""
