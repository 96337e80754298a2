package node

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/token"
	"github.com/triglot/triglot/storage"
)

// cheapAuth is authConfig for tests, which hash a lot.
var cheapAuth = AuthConfig{BcryptCost: bcrypt.MinCost}

// guarded is a node with authentication on. Its users are root, alice, who may do
// everything with keys that begin with a, and cert, who has no password.
type guarded struct {
	*Node
	t testing.TB
}

func startGuarded(t testing.TB, cfg Config) guarded {
	g := guarded{startNode(t, cfg), t}
	g.do(core.Principal{},
		&core.UserAdd{Name: "root", Hash: g.hash("root's own")},
		&core.UserGrantRole{User: "root", Role: "root"},
		&core.UserAdd{Name: "alice", Hash: g.hash("wonderland")},
		&core.UserAdd{Name: "cert", NoPassword: true},
		&core.RoleAdd{Name: "r"},
		&core.RoleAdd{Name: "s"},
		&core.UserGrantRole{User: "alice", Role: "r"},
		&core.RoleGrantPermission{Role: "r", Permission: core.Permission{
			Type: core.PermitReadWrite, Interval: core.Interval{Key: []byte("a"), End: []byte("b")},
		}},
		&core.AuthEnable{},
	)
	return g
}

func (g guarded) hash(password string) []byte {
	hash, err := g.Auth().HashPassword(testContext(g.t), password)
	require.NoError(g.t, err)
	return hash
}

func (g guarded) do(who core.Principal, cmds ...core.Command) {
	g.t.Helper()
	for _, cmd := range cmds {
		_, err := g.Do(testContext(g.t), who, cmd)
		require.NoError(g.t, err, "%+v", cmd)
	}
}

func (g guarded) login(user, password string) string {
	g.t.Helper()
	token, rev, err := g.Auth().Login(testContext(g.t), user, password)
	require.NoError(g.t, err)
	require.Positive(g.t, rev)
	return token
}

func (g guarded) resolve(token string) (core.Principal, error) {
	return g.Auth().Resolve(testContext(g.t), core.Credentials{Token: token})
}

func (g guarded) who(token string) core.Principal {
	g.t.Helper()
	who, err := g.resolve(token)
	require.NoError(g.t, err)
	return who
}

// bad requires that tokens are not good.
func (g guarded) bad(tokens ...string) {
	g.t.Helper()
	for _, token := range tokens {
		_, err := g.resolve(token)
		require.Equal(g.t, core.InvalidAuthToken, err)
	}
}

func TestLogin(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	n := startNode(t, cfg)
	_, _, err := n.Auth().Login(testContext(t), "root", "root")
	require.Equal(t, core.AuthNotEnabled, err)
	require.Equal(t, core.AuthStatus{Rev: 1}, n.Auth().Status())
	who, err := n.Auth().Resolve(testContext(t), core.Credentials{Token: "nonsense"})
	require.NoError(t, err)
	require.Zero(t, who, "while authentication is off")
	stopNode(t, n)

	g := startGuarded(t, cfg)
	require.Equal(t, core.AuthStatus{Enabled: true, Rev: 9}, g.Auth().Status())
	for user, want := range map[string]core.Kind{"alice": core.AuthFailed, "nobody": core.AuthFailed, "": core.AuthFailed, "cert": core.NoPasswordUser} {
		_, _, err := g.Auth().Login(testContext(t), user, "wrong")
		require.Equal(t, want, err, user)
	}
	first, second, root := g.login("alice", "wonderland"), g.login("alice", "wonderland"), g.login("root", "root's own")
	require.NotEqual(t, first, second)
	require.Equal(t, core.Principal{User: "alice", AuthRev: 9}, g.who(first))
	require.Equal(t, core.Principal{User: "alice", AuthRev: 9}, g.who(second))
	g.bad("Bearer " + second) // which a front end takes off, once as in etcd
	admin := g.who(root)

	// What a user may do changes; that it is the user does not.
	g.do(admin, &core.UserGrantRole{User: "alice", Role: "s"})
	require.Equal(t, core.Principal{User: "alice", AuthRev: 10}, g.who(first))
	_, err = g.Do(testContext(t), core.Principal{User: "alice", AuthRev: 9}, &core.Put{Key: []byte("a")})
	require.Equal(t, core.AuthOldRevision, err)

	g.do(admin, &core.UserChangePassword{Name: "alice", Hash: g.hash("looking glass")})
	g.bad(first, second)
	require.Equal(t, "root", g.who(root).User)
	_, _, err = g.Auth().Login(testContext(t), "alice", "wonderland")
	require.Equal(t, core.AuthFailed, err)
	third := g.login("alice", "looking glass")

	// As etcd does: a password that is made empty is none that anybody can give.
	g.do(admin, &core.UserChangePassword{Name: "alice"})
	_, _, err = g.Auth().Login(testContext(t), "alice", "")
	require.Equal(t, core.AuthFailed, err)
	g.do(admin, &core.UserDelete{Name: "alice"})
	g.bad(third, "nonsense", token.NewSecret().Token(3), token.NewSecret().Token(1<<63))
	g.do(admin, &core.AuthDisable{})
	g.do(core.Principal{}, &core.AuthEnable{})
	g.bad(root)
	stopNode(t, g.Node)
}

func TestWhoShowsWhat(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	alice := g.login("alice", "wonderland")
	for _, c := range []struct {
		shown core.Credentials
		want  core.Principal
	}{
		{core.Credentials{}, core.Principal{}},
		{core.Credentials{CertificateSubject: "cert"}, core.Principal{User: "cert", AuthRev: 9}},
		{core.Credentials{CertificateSubject: "cert", Token: alice}, core.Principal{User: "alice", AuthRev: 9}},
		{core.Credentials{ZooKeeper: true}, core.Principal{AuthRev: core.AnyAuthRev}}, // nobody: there is no user "zookeeper"
	} {
		who, err := g.Auth().Resolve(testContext(t), c.shown)
		require.NoError(t, err)
		require.Equal(t, c.want, who)
	}
	_, err := g.Auth().Resolve(testContext(t), core.Credentials{CertificateSubject: "cert", Token: "x"})
	require.Equal(t, core.InvalidAuthToken, err, "a token goes before a certificate, even a bad one")
	stopNode(t, g.Node)
}

// Tokens end with the process, as etcd's do: the log, which is replayed, must not
// bring back one that ran out long ago.
func TestTokensDoNotSurvive(t *testing.T) {
	for name, restart := range map[string]func(*Config, *Node){
		"a stop": func(_ *Config, n *Node) { stopNode(t, n) },
		"a crash": func(cfg *Config, n *Node) {
			left := storage.CrashClone(cfg.FS.(*storage.MemFS), 0, 1)
			stopNode(t, n)
			cfg.FS = left
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Auth = cheapAuth
			g := startGuarded(t, cfg)
			old := g.login("alice", "wonderland")
			restart(&cfg, g.Node)
			g.Node = startNode(t, cfg)
			v, err := g.View(testContext(t), core.Principal{}, core.Consistency{Linearizable: true})
			require.NoError(t, err)
			v.Close()
			g.bad(old)
			require.Equal(t, "alice", g.who(g.login("alice", "wonderland")).User)
			stopNode(t, g.Node)
		})
	}
}

// A login goes on while users and roles change: the password is checked again.
func TestLoginWhileRolesChange(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	ctx, stop := context.WithCancel(testContext(t))
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, err := g.Do(ctx, core.Principal{User: "root"}, &core.RoleAdd{Name: fmt.Sprint(i)})
			if ctx.Err() == nil {
				require.NoError(t, err)
			}
			select {
			case <-time.After(3 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	for range 20 {
		require.Equal(t, "alice", g.who(g.login("alice", "wonderland")).User)
	}
	stop()
	changing.Wait()
	stopNode(t, g.Node)
}

func TestAccounts(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	root, alice := core.Principal{User: "root", AuthRev: 1}, core.Principal{User: "alice", AuthRev: 1}
	ctx, a := testContext(t), g.Auth()
	users, _, err := a.Users(ctx, root)
	require.NoError(t, err)
	require.Equal(t, []string{"alice", "cert", "root"}, users)
	roles, _, err := a.Roles(ctx, root)
	require.NoError(t, err)
	require.Equal(t, []string{"r", "s"}, roles)
	u, _, err := a.User(ctx, alice, "alice")
	require.NoError(t, err)
	require.Equal(t, core.User{Name: "alice", Roles: []string{"r"}}, u)
	r, _, err := a.Role(ctx, alice, "r")
	require.NoError(t, err)
	require.Len(t, r.Permissions, 1)
	_, _, err = a.Role(ctx, root, "root")
	require.Equal(t, core.RoleNotFound, err, "it has no record")
	g.do(root, &core.RoleAdd{Name: "root"})
	r, _, err = a.Role(ctx, root, "root")
	require.NoError(t, err)
	require.Equal(t, []core.Permission{{Type: core.PermitReadWrite, Interval: core.Interval{End: core.FromKey}}}, r.Permissions)

	for who, want := range map[core.Principal]error{alice: core.PermissionDenied, {}: core.UserEmpty, {User: "x", AuthRev: 1}: core.UserNotFound} {
		_, _, err = a.Users(ctx, who)
		require.Equal(t, want, err)
		_, _, err = a.Roles(ctx, who)
		require.Equal(t, want, err)
		_, _, err = a.User(ctx, who, "root")
		require.Equal(t, want, err)
		_, _, err = a.Role(ctx, who, "s")
		require.Equal(t, want, err)
		require.Equal(t, want, g.requireRoot(ctx, who))
	}
	_, _, err = a.User(ctx, root, "x")
	require.Equal(t, core.UserNotFound, err)
	_, _, err = a.User(ctx, core.Principal{User: "x", AuthRev: 1}, "x")
	require.Equal(t, core.UserNotFound, err)
	require.NoError(t, g.requireRoot(ctx, root))
	require.NoError(t, g.requireRoot(ctx, core.Principal{Member: true}))
	stopNode(t, g.Node)
}

func TestSignedTokens(t *testing.T) {
	cfg := testConfig(t)
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte("a key of some length"), 0o600))
	cfg.Auth = AuthConfig{Token: "jwt,sign-method=HS256,ttl=1h,priv-key=" + key, BcryptCost: bcrypt.MinCost}
	g := startGuarded(t, cfg)
	alice := g.login("alice", "wonderland")
	_, _, err := g.Auth().Login(testContext(t), "alice", "wrong")
	require.Equal(t, core.AuthFailed, err)
	require.Equal(t, core.Principal{User: "alice", AuthRev: 9}, g.who(alice))
	g.do(core.Principal{User: "root"}, &core.RoleAdd{Name: "t"})
	require.Equal(t, core.Principal{User: "alice", AuthRev: 9}, g.who(alice), "it says of itself when it was made")
	_, err = g.Do(testContext(t), g.who(alice), &core.Put{Key: []byte("a")})
	require.Equal(t, core.AuthOldRevision, err)
	g.bad("nonsense", alice[:len(alice)-3])
	stopNode(t, g.Node)

	g.Node = startNode(t, cfg)
	require.Equal(t, "alice", g.who(alice).User)
	stopNode(t, g.Node)
}

func TestAuthConfig(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth.Token = "jwt,sign-method=RS256"
	_, err := Start(cfg)
	require.Equal(t, token.ErrMissingKey, err)
	var log syncBuffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Auth = AuthConfig{Token: "simple,odd=1", BcryptCost: 3}
	n := startNode(t, cfg)
	require.Equal(t, bcrypt.DefaultCost, n.auth.passwords.cost)
	require.Contains(t, log.String(), "bcrypt")
	stopNode(t, n)
}

// startPasswords makes passwords at work until the test ends.
func startPasswords(t *testing.T, cost int) *passwords {
	p := newPasswords(cost)
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	p.start(ctx, working.Go)
	t.Cleanup(func() { stop(); working.Wait() })
	return &p
}

// Nothing matches the decoy, at the same cost as with any hash.
func TestDecoy(t *testing.T) {
	p := startPasswords(t, bcrypt.MinCost+1)
	cost, err := bcrypt.Cost(p.decoy)
	require.NoError(t, err)
	require.Equal(t, p.cost, cost)
	require.Equal(t, bcrypt.ErrMismatchedHashAndPassword, bcrypt.CompareHashAndPassword(p.decoy, []byte("x")))
	require.Equal(t, core.AuthFailed, p.check(testContext(t), nil, ""))
}

// Whoever waits for a turn waits no longer than he wants to.
func TestTurnsForPasswords(t *testing.T) {
	p := newPasswords(bcrypt.MinCost) // nobody is at work
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := p.hash(ctx, "x")
	require.Equal(t, core.Deadline, err)
	require.Equal(t, core.Deadline, p.check(ctx, p.decoy, "x"))
	stopped := make(chan struct{})
	close(stopped)
	p.stopping = stopped
	require.Equal(t, core.Stopped, p.check(testContext(t), p.decoy, "x"))

	p = *startPasswords(t, bcrypt.MinCost)
	hash, err := p.hash(testContext(t), "x")
	require.NoError(t, err)
	require.NoError(t, p.check(testContext(t), hash, "x"))
	_, err = p.hash(testContext(t), strings.Repeat("x", 73))
	require.ErrorIs(t, err, core.InvalidArgument)
	require.ErrorContains(t, err, "72 bytes")
}

// The log names who failed to log in, and not at any length: anybody may fail.
func TestLogOfALogin(t *testing.T) {
	cfg := testConfig(t)
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	for _, user := range []string{"mallory", strings.Repeat("é", 1<<20)} {
		_, _, err := g.Auth().Login(testContext(t), user, "x")
		require.Equal(t, core.AuthFailed, err)
	}
	stopNode(t, g.Node)
	require.Contains(t, log.String(), "user=mallory ")
	require.Contains(t, log.String(), "user=ééé")
	require.Less(t, log.Len(), 1<<16)
}

// TestSecretsStayOffTheDisk looks through all that a member has on disk, and has
// logged, for passwords and tokens (CVE-2021-28235).
func TestSecretsStayOffTheDisk(t *testing.T) {
	cfg := testConfig(t)
	cfg.DataDir, cfg.FS = t.TempDir(), storage.DefaultFS
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 4}))
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	alice := g.login("alice", "wonderland")
	g.do(core.Principal{User: "root"}, &core.UserChangePassword{Name: "alice", Hash: g.hash("looking glass")})
	again := g.login("alice", "looking glass")
	_, _, err := g.Auth().Login(testContext(t), "alice", "tea party")
	require.Equal(t, core.AuthFailed, err)
	g.bad(alice, "never.7")
	g.do(g.who(again), &core.Put{Key: []byte("a-witness")})
	require.NoError(t, g.disk.engine().db.Flush())
	stopNode(t, g.Node)

	secrets := []string{"root's own", "wonderland", "looking glass", "tea party", "never.7"}
	for _, token := range []string{alice, again} {
		letters, _, _ := strings.Cut(token, ".")
		secrets = append(secrets, letters)
	}
	witnesses := 0
	require.NoError(t, filepath.WalkDir(cfg.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if bytes.Contains(b, []byte("a-witness")) {
			witnesses++
		}
		for _, secret := range secrets {
			require.False(t, bytes.Contains(b, []byte(secret)), "%q in %s", secret, path)
		}
		return nil
	}))
	require.Positive(t, witnesses, "the search finds what is there")
	require.Contains(t, log.String(), "alice")
	for _, secret := range secrets {
		require.NotContains(t, log.String(), secret)
	}
}
