//! What an administrator has to say that it is meant, since it takes something away.

use clap::Args;

/// The flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct Meant {
    /// Accept fewer nodes, or fewer zones, than N
    #[arg(long)]
    pub allow_fewer_than_n: bool,
    /// Accept that acknowledged writes are lost which only nodes had that are down for good, or whose disks were emptied
    /// and are not filled again; without this such a change is refused, or waits
    #[arg(long)]
    pub accept_loss: bool,
}

impl Meant {
    /// The flags that say this, each with a blank before it.
    pub fn flags(self) -> String {
        let flag = |said: bool, flag: &'static str| if said { flag } else { "" };
        [flag(self.allow_fewer_than_n, " --allow-fewer-than-n"), flag(self.accept_loss, " --accept-loss")].concat()
    }
}
