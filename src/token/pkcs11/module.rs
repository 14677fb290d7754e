//! Loading PKCS#11 modules: each is initialised once per process, whoever asks, and never finalised, since other keys may be using it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use crate::token::TokenError;

static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The initialised module at `path`.
pub(super) fn load(path: &Path) -> Result<Pkcs11, TokenError> {
    let failed = |error: String| TokenError::Module { path: path.to_owned(), error };
    let canonical = path.canonicalize().map_err(|e| failed(e.to_string()))?;
    // Held while the module starts, so that two threads do not initialise it both.
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(context) = modules.get(&canonical) {
        return Ok(context.clone());
    }
    let context = Pkcs11::new(&canonical).map_err(|e| failed(e.to_string()))?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Another library of this process uses it too.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(e) => return Err(TokenError::ModuleStart { path: path.to_owned(), error: e.to_string() }),
    }
    modules.insert(canonical, context.clone());
    Ok(context)
}
