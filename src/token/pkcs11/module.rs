//! Loading PKCS#11 modules: each is initialised once per process, whoever asks, and never finalised, since other keys may be using it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use crate::token::TokenError;

/// A module, once it was initialised.
type Module = Arc<Mutex<Option<Pkcs11>>>;

static MODULES: Mutex<BTreeMap<PathBuf, Module>> = Mutex::new(BTreeMap::new());

/// The initialised module at `path`.
pub(super) fn load(path: &Path) -> Result<Pkcs11, TokenError> {
    let failed = |error: String| TokenError::Module { path: path.to_owned(), error };
    let canonical = path.canonicalize().map_err(|e| failed(e.to_string()))?;
    let module = MODULES.lock().unwrap_or_else(PoisonError::into_inner).entry(canonical.clone()).or_default().clone();
    // Held while the module starts, so that two threads do not initialise it both; one that does not answer holds up no other module.
    let mut module = module.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(context) = &*module {
        return Ok(context.clone());
    }
    let context = Pkcs11::new(&canonical).map_err(|e| failed(e.to_string()))?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Another library of this process uses it too.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(e) => return Err(TokenError::ModuleStart { path: path.to_owned(), error: e.to_string() }),
    }
    Ok(module.insert(context).clone())
}
