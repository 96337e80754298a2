package jaas

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const digest = `org.apache.zookeeper.server.auth.DigestLoginModule`

// files are login files and the users of their section Server, as Java 17 reads them,
// but for the property in "several": Java looks into sections that do not matter, too.
var files = map[string]struct {
	text string
	want map[string]string
}{
	"plain":    {`Server { ` + digest + ` required user_super="adminsecret" user_bob="bobsecret"; };`, map[string]string{"super": "adminsecret", "bob": "bobsecret"}},
	"bare":     {"Server{" + digest + " required user_bob=bobsecret;};", map[string]string{"bob": "bobsecret"}},
	"quoted":   {`"Server" { "` + digest + `" "Required" "user_a b/c"="x y" ; } ;`, map[string]string{"a b/c": "x y"}},
	"empty":    {``, nil},
	"no users": {`Server { ` + digest + ` required; };`, map[string]string{}},
	"nothing":  {`Server { };`, nil},
	"other":    {`Client { ` + digest + ` required username="bob" password="x"; };`, nil},
	"several": {`Client { com.sun.security.auth.module.Krb5LoginModule required keyTab="${x}" useKeyTab=true; };
		Server { ` + digest + ` required user_a="1"; ` + digest + ` optional user_b="2" user_a="3"; };
		Other {};`, map[string]string{"a": "3", "b": "2"}},
	"comments": {"// one\n/* two\n */ Server { / three \"\n" + digest + " required user_a=\"x//y/*z*/\" // four\n ; };", map[string]string{"a": "x//y/*z*/"}},
	"escapes":  {`Server { ` + digest + ` required user_a="\"\\\t\x\101\7\400'"; };`, map[string]string{"a": "\"\\\tx\x41\x07 0'"}},
	"marks":    {`Server { ` + digest + ` required user_a$b-c*d.e_1=x$y-z*.9; };`, map[string]string{"a$b-c*d.e_1": "x$y-z*.9"}},
	"unicode":  {`Server { ` + digest + ` required user_zoé="pässword☃" user_é=ü; };`, map[string]string{"zoé": "pässword☃", "é": "ü"}},
	"dollar":   {`Server { ` + digest + ` required user_a="$x}{"; };`, map[string]string{"a": "$x}{"}},
	"no value": {`Server { ` + digest + ` required user_a=""; };`, map[string]string{"a": ""}},
}

func TestParse(t *testing.T) {
	for name, f := range files {
		t.Run(name, func(t *testing.T) {
			users, err := Parse("jaas.conf", []byte(f.text), DefaultSection)
			require.NoError(t, err)
			require.Equal(t, f.want, users)
		})
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"Server":                                                  `jaas.conf:1: expected "{", found the end of the file`,
		"\nServer {\n\n" + digest + ";};":                         `jaas.conf:4: expected a flag (required, requisite, sufficient or optional), found ";"`,
		"Server { " + digest + " maybe; };":                       `jaas.conf:1: the flag of ` + digest + ` is none of required, requisite, sufficient and optional`,
		"Server { " + digest + " required };":                     `jaas.conf:1: expected an option or ";", found "}"`,
		"Server { " + digest + " required; }":                     `jaas.conf:1: expected ";", found the end of the file`,
		"Server { };\nServer { };":                                `jaas.conf:2: section "Server" comes twice`,
		"Server { " + digest + " required user_a":                 `jaas.conf:1: expected "=", found the end of the file`,
		"Server { " + digest + " required user_a\n=\n12; };":      `jaas.conf:3: a word begins with '1': put it in quotes`,
		"Server { " + digest + " required user_a=\n\"secret\n":    `jaas.conf:2: a quote is not closed`,
		"Server { " + digest + " required user_a=\"secret\\\n\";": `jaas.conf:1: a quote is not closed`,
		"Server { " + digest + " required user_a='secret'; };":    `jaas.conf:1: expected the value of user_a, found "'"`,
		"Server { /* ": `jaas.conf:1: a comment is not closed`,
		"Server { " + digest + " required user_=\"x\"; };":          `jaas.conf:1: a user has no name: an option is user_`,
		"Server { " + digest + " required user_a=\"${secret}\"; };": `jaas.conf:1: the value of user_a has a ${property} of Java's, which are not known here`,
		"\nServer {\ncom.sun.security.auth.module.Krb5LoginModule required; };": `jaas.conf:3: section "Server" asks for com.sun.security.auth.module.Krb5LoginModule,` +
			` of which there is none here: only ` + digest + ` is`,
		"Server { \xff };": `jaas.conf: it is not UTF-8`,
	} {
		_, err := Parse("jaas.conf", []byte(text), DefaultSection)
		require.EqualError(t, err, want, "%q", text)
		require.NotContains(t, err.Error(), "secret}x")
	}
}

func TestParseYAML(t *testing.T) {
	users, err := ParseYAML("users.yaml", []byte("users:\n  bob: bobsecret\n  \"1\": \"2\"\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"bob": "bobsecret", "1": "2"}, users)

	for text, want := range map[string]string{
		"":                                 `users.yaml: there is no users: {NAME: PASSWORD} in it`,
		"users:\n  bob: [secret]\n":        `users.yaml: line 2: this is not users: {NAME: PASSWORD}, each name once, in quotes if it is a number`,
		"users: {a: secret, a: secret}\n":  `users.yaml: line 1: this is not users: {NAME: PASSWORD}, each name once, in quotes if it is a number`,
		"user: {a: secret}\n":              `users.yaml: line 1: this is not users: {NAME: PASSWORD}, each name once, in quotes if it is a number`,
		"users: {\"\": secret}":            `users.yaml: a user has no name`,
		"users:\n\tbob: secret\n":          `users.yaml: line 2: this is not users: {NAME: PASSWORD}, each name once, in quotes if it is a number`,
		"users: {bob: !!binary \"secret\"": `users.yaml: line 1: this is not users: {NAME: PASSWORD}, each name once, in quotes if it is a number`,
	} {
		_, err := ParseYAML("users.yaml", []byte(text))
		require.EqualError(t, err, want, "%q", text)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	login := write("login.conf", "Mine { "+digest+" required user_bob=x; };")
	users, err := Load(login, "Mine")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"bob": "x"}, users)
	users, err = Load(login, DefaultSection)
	require.NoError(t, err)
	require.Nil(t, users)

	users, err = Load(write("users.yml", "users: {bob: y}"), DefaultSection)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"bob": "y"}, users)

	_, err = Load(filepath.Join(dir, "none"), DefaultSection)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load(write("long", strings.Repeat(" ", maxFile+1)), DefaultSection)
	require.ErrorContains(t, err, "longer than")
}

func FuzzParse(f *testing.F) {
	for _, file := range files {
		f.Add(file.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		users, err := Parse("f", []byte(text), DefaultSection)
		if err != nil {
			require.Nil(t, users)
			require.Regexp(t, `^f(:[0-9]+)?: `, err.Error())
		}
		for user := range users {
			require.NotEmpty(t, user)
		}
	})
}

func FuzzParseYAML(f *testing.F) {
	f.Add("users: {bob: secret}")
	f.Add("users:\n  bob: &a x\n  eve: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		users, err := ParseYAML("f", []byte(text))
		require.Equal(t, err == nil, users != nil)
	})
}
