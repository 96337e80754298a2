package sasl

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var users = map[string]string{"bob": "bobsecret", "super": "adminsecret", "zoé": "pässword☃", "latin": "pä"}

func passwordOf(user string) (string, bool) {
	password, ok := users[user]
	return password, ok
}

// recorded is one line of testdata/zookeeper.txt.
type recorded struct {
	what, nonce, reply string
	answer             []byte
}

func recordings(t testing.TB) []recorded {
	t.Helper()
	text, err := os.ReadFile("testdata/zookeeper.txt")
	require.NoError(t, err)
	var all []recorded
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, fields, 4, line)
		answer, err := hex.DecodeString(fields[2])
		require.NoError(t, err)
		all = append(all, recorded{fields[0], fields[1], fields[3], answer})
	}
	return all
}

// What clients say is taken, or refused, as a ZooKeeper 3.9.5 on Java 17 did, and the
// proof that it is given is the same.
func TestAnswersAsZooKeeper(t *testing.T) {
	all := recordings(t)
	require.Greater(t, len(all), 60)
	for _, r := range all {
		t.Run(r.what, func(t *testing.T) {
			x := &Exchange{password: passwordOf, next: answer, nonce: r.nonce}
			reply, err := x.Step(r.answer)
			if r.reply == "refused" {
				require.Error(t, err)
				require.Empty(t, x.User())
				return
			}
			require.NoError(t, err)
			require.Equal(t, r.reply, string(reply))
			require.NotEmpty(t, x.User())
		})
	}
}

// The challenge is the one that ZooKeeper 3.9.5 sends, but for the nonce, whatever the
// first token says; no two are the same.
func TestChallenge(t *testing.T) {
	seen := map[string]bool{}
	for _, first := range []string{"", "anything"} {
		reply, err := New(passwordOf).Step([]byte(first))
		require.NoError(t, err)
		require.Regexp(t, regexp.MustCompile(`^realm="zk-sasl-md5",nonce="[A-Za-z0-9+/]{40}",charset=utf-8,algorithm=md5-sess$`), string(reply))
		require.False(t, seen[string(reply)])
		seen[string(reply)] = true
	}
}

// An exchange is good for one answer: neither a second one after a failure nor a
// replay after a success is looked at.
func TestOneAnswer(t *testing.T) {
	all := recordings(t)
	ok := all[0]
	require.NotEqual(t, "refused", ok.reply)

	x := &Exchange{password: passwordOf, next: answer, nonce: ok.nonce}
	_, err := x.Step(ok.answer)
	require.NoError(t, err)
	require.Equal(t, "bob", x.User())
	_, err = x.Step(ok.answer)
	require.ErrorIs(t, err, errOver)
	require.Equal(t, "bob", x.User(), "what was proven stays so")

	x = &Exchange{password: passwordOf, next: answer, nonce: ok.nonce}
	_, err = x.Step([]byte("nonsense"))
	require.Error(t, err)
	_, err = x.Step(ok.answer)
	require.ErrorIs(t, err, errOver)
	require.Empty(t, x.User())

	x = New(passwordOf)
	_, err = x.Step(nil)
	require.NoError(t, err)
	_, err = x.Step(ok.answer) // to an earlier challenge
	require.ErrorIs(t, err, errNonce)
}

// No error tells what was wrong in the client's or the server's own words.
func TestErrorsTellNoSecret(t *testing.T) {
	for _, r := range recordings(t) {
		x := &Exchange{password: passwordOf, next: answer, nonce: r.nonce}
		_, err := x.Step(r.answer)
		if err == nil {
			continue
		}
		for user, password := range users {
			require.NotContains(t, err.Error(), password)
			require.NotContains(t, err.Error(), user)
		}
	}
}

func FuzzStep(f *testing.F) {
	for _, r := range recordings(f) {
		f.Add(r.nonce, r.answer)
	}
	f.Fuzz(func(t *testing.T, nonce string, token []byte) {
		x := &Exchange{password: passwordOf, next: answer, nonce: nonce}
		reply, err := x.Step(token)
		if err != nil {
			require.Empty(t, x.User())
			require.Nil(t, reply)
			return
		}
		require.Contains(t, users, x.User())
		require.Regexp(t, "^rspauth=[0-9a-f]{32}$", string(reply))
	})
}
