"""The published experiments, run again: each writes its numbers and its figures into a folder.

Each takes that folder and the one of the first run of the recipe that it belongs to.
"""

from gallery.ledger.experiments import (
    autoencoder,
    conditionals,
    contractive_autoencoder,
    exponential_gaussian,
    factor_analysis,
    gmvae,
    ss_vae,
    vae,
    vrnn,
)

EXPERIMENTS = {
    "autoencoder": autoencoder.reproduce,
    "contractive_autoencoder": contractive_autoencoder.reproduce,
    "exponential_gaussian": exponential_gaussian.reproduce,
    "factor_analysis": factor_analysis.reproduce,
    "gmvae": gmvae.reproduce,
    "loaded_die": conditionals.reproduce,
    "ss_vae:dynamic": ss_vae.reproduce,
    "vae:notes": vae.reproduce,
    "vrnn": vrnn.reproduce,
}
