//! `settings`: configuration that the operator granted to this plugin, by name. Values may be secrets.

use wasmtime::component::{HasData, Linker};

use crate::runtime::Grants;
use crate::runtime::bindings;
use crate::runtime::guest::Guest;
use crate::runtime::meter::Meter;

/// What the guest's calls work on.
pub(in crate::runtime) struct SettingsHost<'a> {
    pub(in crate::runtime) grants: &'a Grants,
    pub(in crate::runtime) meter: &'a mut Meter,
}

impl bindings::settings::Host for SettingsHost<'_> {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        self.meter.call(name.len())?;
        let value = self.grants.settings.get(&name);
        self.meter.charge_bytes(value.map_or(0, String::len));
        Ok(value.cloned())
    }
}

struct HasSettings;

impl HasData for HasSettings {
    type Data<'a> = SettingsHost<'a>;
}

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::settings::add_to_linker::<_, HasSettings>(linker, |guest| SettingsHost { grants: &guest.grants, meter: &mut guest.meter })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use bindings::settings::Host as _;

    #[test]
    fn only_granted_names_answer() {
        let grants = Grants { settings: [("region".to_owned(), "eu".to_owned())].into(), ..Grants::default() };
        let mut meter = Meter::new(Limits::defaults(), 0);
        let mut host = SettingsHost { grants: &grants, meter: &mut meter };
        assert_eq!(host.get("region".to_owned()).expect("allowed").as_deref(), Some("eu"));
        assert_eq!(host.get("PATH".to_owned()).expect("allowed"), None);
        assert_eq!(meter.host_calls, 2);
    }
}
