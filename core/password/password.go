// Package password hashes passwords as bcrypt does, and checks them, beside work that
// must not wait: it gives way every few dozen microseconds.
//
// A hash takes tens of milliseconds of CPU, in one go where golang.org/x/crypto/bcrypt
// makes it; on two cores that is long enough for what others do to be seen waiting. The
// hashes are the same. The package keeps nothing.
package password

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/blowfish"
)

// The costs that there can be: a hash takes two to the power of it.
const (
	MinCost     = bcrypt.MinCost
	MaxCost     = bcrypt.MaxCost
	DefaultCost = bcrypt.DefaultCost
)

// MaxLen is the number of bytes of a password that count.
const MaxLen = 72

// ErrTooLong refuses to hash a longer password.
var ErrTooLong = bcrypt.ErrPasswordTooLong

const (
	saltLen = 16
	// sumLen is the length of what is kept of the encrypted text: all but a byte.
	sumLen = 23
	text   = "OrpheanBeholderScryDoubt"
	// textLen is the length of salt and sum in letters.
	textLen = 22 + 31
)

var encoding = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").
	WithPadding(base64.NoPadding)

// Hash makes a hash of a password. The cost must be within [MinCost, MaxCost]. It fails
// with ErrTooLong.
func Hash(password []byte, cost int) ([]byte, error) {
	if len(password) > MaxLen {
		return nil, ErrTooLong
	}
	if cost < MinCost || cost > MaxCost {
		return nil, bcrypt.InvalidCostError(cost)
	}
	var salt [saltLen]byte
	rand.Read(salt[:]) // never fails
	return format(cost, salt[:], sum(password, cost, salt[:])), nil
}

// Matches reports whether hash is of a password. A hash that is none matches nothing.
func Matches(hash, password []byte) bool {
	cost, err := bcrypt.Cost(hash)
	letters := hash[bytes.LastIndexByte(hash, '$')+1:]
	if err != nil || len(letters) != textLen {
		return false
	}
	var salt [saltLen]byte
	if _, err := encoding.Decode(salt[:], letters[:22]); err != nil {
		return false
	}
	want := encoding.AppendEncode(nil, sum(password, cost, salt[:]))
	return subtle.ConstantTimeCompare(want, letters[22:]) == 1
}

// Decoy is a hash that no password is known to have.
func Decoy(cost int) []byte { return format(cost, make([]byte, saltLen), make([]byte, sumLen)) }

func format(cost int, salt, sum []byte) []byte {
	out := fmt.Appendf(nil, "$2a$%02d$", cost)
	return encoding.AppendEncode(encoding.AppendEncode(out, salt), sum)
}

// sum is bcrypt: a cipher whose key is expensive to set up, applied to a text.
func sum(password []byte, cost int, salt []byte) []byte {
	key := append(password[:len(password):len(password)], 0) // as in C, with the end of the string
	c, err := blowfish.NewSaltedCipher(key, salt)
	if err != nil {
		panic("password: a key of one byte at least: " + err.Error())
	}
	for range uint64(1) << cost {
		blowfish.ExpandKey(key, c)
		blowfish.ExpandKey(salt, c)
		runtime.Gosched()
	}
	out := []byte(text)
	for at := 0; at < len(out); at += blowfish.BlockSize {
		for range 64 {
			c.Encrypt(out[at:at+blowfish.BlockSize], out[at:at+blowfish.BlockSize])
		}
	}
	return out[:sumLen]
}
