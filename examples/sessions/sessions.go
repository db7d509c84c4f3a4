// Package sessions lets users log in, and keeps them logged in for as long as they are
// there: each request gives the session its whole time again, and without any it expires.
//
//	curl localhost:8080/sessions/register -d '{"name":"ada","password":"correct horse"}'
//	curl -c jar localhost:8080/login -d '{"name":"ada","password":"correct horse"}'
//	curl -b jar localhost:8080/me
//	curl -b jar -X POST localhost:8080/logout
//
// Sessions and users lie in buckets, so any worker of any host knows them, and a new
// version of the function logs nobody out. How long a session lasts is configuration. The
// end of a session, by logout or by time, is an event: the endpoint ended counts them.
package sessions

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/kv"
)

// Credentials are what a user logs in with.
type Credentials struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// User is a user as the bucket users has it, under the hexadecimal of the name.
type User struct {
	Name       string
	Salt, Hash []byte
}

// Session is a session as the bucket sessions has it, under a hash of its token: who
// can read the bucket cannot be logged in by what is there.
type Session struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

const (
	cookie     = "session"
	iterations = 100_000
)

// HandleRegister makes a user.
func HandleRegister(ctx context.Context, in Credentials) error {
	if in.Name == "" || len(in.Name) > 100 || len(in.Password) < 8 {
		return functions.Errorf(functions.Unprocessed, "a name of 1 to 100 bytes and a password of 8 or more")
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	hash, err := hashed(in.Password, salt)
	if err != nil {
		return err
	}
	_, err = kv.Of[User](functions.KV(ctx, "users")).Put(ctx, userKey(in.Name), User{in.Name, salt, hash}, kv.IfAbsent())
	if errors.Is(err, kv.ErrExists) {
		return functions.Errorf(functions.Conflict, "there is a user %q already", in.Name)
	}
	return err
}

// HandleLogin begins a session.
func HandleLogin(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	var in Credentials
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, "want a JSON object with name and password", http.StatusBadRequest)
		return
	}
	user, _, err := kv.Of[User](functions.KV(ctx, "users")).Get(ctx, userKey(in.Name))
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		fail(w, r, err)
		return
	}
	hash, err2 := hashed(in.Password, user.Salt) // for a user that there is not, too: the time tells nothing
	if err != nil || err2 != nil || subtle.ConstantTimeCompare(hash, user.Hash) == 0 {
		http.Error(w, "no user of this name and password", http.StatusUnauthorized)
		return
	}
	ttl, err := lifetime(ctx)
	if err != nil {
		fail(w, r, err)
		return
	}
	token := rand.Text()
	session := Session{Name: user.Name, Since: time.Now().UTC()}
	if _, err := kv.Of[Session](functions.KV(ctx, "sessions")).Put(ctx, sessionKey(token), session, kv.IfAbsent(), kv.TTL(ttl)); err != nil {
		fail(w, r, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	w.WriteHeader(http.StatusNoContent)
}

// HandleMe says who is logged in, and gives the session its whole time again.
func HandleMe(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	sessions := kv.Of[Session](functions.KV(ctx, "sessions"))
	key := keyOf(r)
	session, _, err := sessions.Get(ctx, key)
	if err == nil {
		var ttl time.Duration
		if ttl, err = lifetime(ctx); err == nil {
			_, err = sessions.Bucket().Touch(ctx, key, ttl)
		}
	}
	if errors.Is(err, kv.ErrNotFound) {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(session)
}

// HandleLogout ends the session.
func HandleLogout(w http.ResponseWriter, r *http.Request) {
	if err := functions.KV(r.Context(), "sessions").Delete(r.Context(), keyOf(r)); err != nil {
		fail(w, r, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1})
	w.WriteHeader(http.StatusNoContent)
}

// HandleEnded runs for each session that has ended, and counts how. It is run again after
// a failure, and the count stays exact.
func HandleEnded(ctx context.Context, e functions.Event) error {
	return functions.Atomically(ctx, func(ctx context.Context) error {
		_, err := functions.KV(ctx, "sessions-ended").Add(ctx, e.Entry.Op.String(), 1)
		return err
	})
}

// lifetime returns how long a session lasts without a request.
func lifetime(ctx context.Context) (time.Duration, error) {
	config, err := functions.Config(ctx)
	if err != nil {
		return 0, err
	}
	return config.Duration("sessions.ttl", 30*time.Minute), nil
}

func fail(w http.ResponseWriter, r *http.Request, err error) {
	functions.Log(r.Context()).Error("session: " + err.Error())
	http.Error(w, "sessions cannot be reached", http.StatusServiceUnavailable)
}

func hashed(password string, salt []byte) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, salt, iterations, 32)
}

func userKey(name string) string { return hex.EncodeToString([]byte(name)) }

// keyOf returns the key of the session that a request names.
func keyOf(r *http.Request) string {
	c, err := r.Cookie(cookie)
	if err != nil {
		return sessionKey("")
	}
	return sessionKey(c.Value)
}

func sessionKey(token string) string {
	sum := sha256.Sum256(bytes.TrimSpace([]byte(token)))
	return hex.EncodeToString(sum[:])
}
