"""The paper: RGT, its residual groups, L-SA, RG-SA and HAI. Nothing but torch lives here."""

from rgt_cli.network.rgt import RGT, RGTConfig

__all__ = ["RGT", "RGTConfig"]
