//! The sessions of one token: one that keeps the login, and a bounded number that are lent to signing threads. What was lost (a token
//! restarted, a session closed) is made good once per piece of work; a PIN that was refused is never tried again.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;

use super::Pin;
use crate::token::TokenError;

/// How long a signature waits for a session before it fails: far longer than any token takes, far shorter than an operator's patience.
const WAIT: Duration = Duration::from_secs(30);

/// Where a token is.
pub(super) struct Place {
    pub(super) context: Pkcs11,
    pub(super) slot: Slot,
    pub(super) label: String,
}

pub(super) struct Sessions {
    place: Place,
    pin: Pin,
    limit: usize,
    login: Mutex<Login>,
    lending: Mutex<Lending>,
    returned: Condvar,
}

struct Login {
    /// Keeps the user logged in: a token logs out with the last session.
    keeper: Option<Session>,
    pin_refused: bool,
}

struct Lending {
    /// Counts logins: sessions and object handles of an earlier one are not to be trusted.
    generation: u64,
    idle: Vec<Session>,
    /// Sessions lent or idle.
    open: usize,
}

/// Why work was not done.
enum Failure {
    Busy,
    /// The module's answer, in this generation.
    Module(u64, Error),
}

impl Sessions {
    /// Logs in.
    pub(super) fn log_in(place: Place, pin: Pin, limit: usize) -> Result<Sessions, TokenError> {
        let login = Mutex::new(Login { keeper: None, pin_refused: false });
        let lending = Mutex::new(Lending { generation: 0, idle: Vec::new(), open: 0 });
        let sessions = Sessions { place, pin, limit, login, lending, returned: Condvar::new() };
        sessions.open_keeper(&mut lock(&sessions.login))?;
        Ok(sessions)
    }

    pub(super) fn label(&self) -> &str {
        &self.place.label
    }

    /// Does `work` on a session. Where the session, the login or the token turns out to be lost: logs in again and does it once more.
    /// `work` gets the generation of the login that its session belongs to: object handles are valid for one.
    pub(super) fn run<T>(&self, doing: &'static str, work: impl Fn(&Session, u64) -> Result<T, Error>) -> Result<T, TokenError> {
        let failed = |failure| match failure {
            Failure::Busy => TokenError::Busy { token: self.place.label.clone(), seconds: WAIT.as_secs() },
            Failure::Module(_, error) => self.error(doing, error),
        };
        match self.attempt(&work) {
            Err(Failure::Module(generation, error)) if is_loss(&error) => {
                self.log_in_again(generation)?;
                self.attempt(&work).map_err(failed)
            }
            result => result.map_err(failed),
        }
    }

    /// Does `work` once, on a session of its own that may write. The login of the other sessions is its login too.
    pub(super) fn run_writing<T>(&self, doing: &'static str, work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, TokenError> {
        let session = self.place.context.open_rw_session(self.place.slot).map_err(|e| self.error("open a session", e))?;
        work(&session).map_err(|e| self.error(doing, e))
    }

    fn attempt<T>(&self, work: &impl Fn(&Session, u64) -> Result<T, Error>) -> Result<T, Failure> {
        let mut loan = self.lend()?;
        let result = loan.session.as_ref().map_or(Err(Error::InvalidValue), |session| work(session, loan.generation));
        result.map_err(|error| {
            // Whatever went wrong, an operation may still be active on it.
            loan.session = None;
            Failure::Module(loan.generation, error)
        })
    }

    fn lend(&self) -> Result<Loan<'_>, Failure> {
        let deadline = Instant::now() + WAIT;
        let mut lending = lock(&self.lending);
        loop {
            let generation = lending.generation;
            if let Some(session) = lending.idle.pop() {
                return Ok(Loan { sessions: self, session: Some(session), generation });
            }
            if lending.open < self.limit {
                lending.open += 1;
                drop(lending);
                // From here on the loan's end gives the place back, also where no session could be opened.
                let mut loan = Loan { sessions: self, session: None, generation };
                loan.session = Some(self.place.context.open_ro_session(self.place.slot).map_err(|e| Failure::Module(generation, e))?);
                return Ok(loan);
            }
            let left = deadline.checked_duration_since(Instant::now()).ok_or(Failure::Busy)?;
            lending = self.returned.wait_timeout(lending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Logs in again after the login of `generation` was lost; does nothing where another thread was faster.
    fn log_in_again(&self, generation: u64) -> Result<(), TokenError> {
        let mut login = lock(&self.login);
        let mut lending = lock(&self.lending);
        if lending.generation != generation {
            return Ok(());
        }
        let stale = std::mem::take(&mut lending.idle);
        lending.open -= stale.len();
        drop(lending);
        // Closed before others are opened, whose handles could be the same.
        drop(stale);
        self.open_keeper(&mut login)?;
        lock(&self.lending).generation += 1;
        self.returned.notify_all();
        Ok(())
    }

    fn open_keeper(&self, login: &mut Login) -> Result<(), TokenError> {
        let wrong_pin = || TokenError::WrongPin { token: self.place.label.clone(), place: self.pin.place().to_owned() };
        if login.pin_refused {
            return Err(wrong_pin());
        }
        login.keeper = None;
        let session = self.place.context.open_ro_session(self.place.slot).map_err(|e| self.error("open a session", e))?;
        match session.login(UserType::User, Some(self.pin.secret())) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                login.keeper = Some(session);
                Ok(())
            }
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                login.pin_refused = true;
                Err(wrong_pin())
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => {
                login.pin_refused = true;
                Err(TokenError::PinLocked { token: self.place.label.clone() })
            }
            Err(e) => Err(self.error("log in", e)),
        }
    }

    fn error(&self, doing: &'static str, error: Error) -> TokenError {
        TokenError::Token { token: self.place.label.clone(), doing, error: error.to_string() }
    }
}

/// A session lent; given back when dropped.
struct Loan<'a> {
    sessions: &'a Sessions,
    /// `None`: not to be used again.
    session: Option<Session>,
    generation: u64,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut lending = lock(&self.sessions.lending);
        match self.session.take() {
            Some(session) if lending.generation == self.generation => lending.idle.push(session),
            stale => {
                lending.open -= 1;
                drop(lending);
                drop(stale);
            }
        }
        self.sessions.returned.notify_one();
    }
}

/// Whether a new session, a new login or looking for the key again may help.
fn is_loss(error: &Error) -> bool {
    use RvError as R;
    let Error::Pkcs11(code, _) = error else { return false };
    let session = matches!(code, R::SessionHandleInvalid | R::SessionClosed | R::UserNotLoggedIn);
    let device = matches!(code, R::DeviceError | R::DeviceMemory | R::DeviceRemoved | R::TokenNotPresent);
    // A logout makes the handles of private objects invalid.
    session || device || matches!(code, R::KeyHandleInvalid | R::ObjectHandleInvalid)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
