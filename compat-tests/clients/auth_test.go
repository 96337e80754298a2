package clients

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
	"google.golang.org/grpc/metadata"

	"github.com/triglot/triglot/compat-tests/server"
)

// asUser returns a client that shows a password, closed when the test ends.
func asUser(t *testing.T, p *server.Process, name, password string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{p.Endpoint()}, DialTimeout: patience, Logger: zap.NewNop(),
		Username: name, Password: password,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// startAuth starts a server with authentication on, and returns root's client.
func startAuth(t *testing.T, args ...string) (*server.Process, *clientv3.Client) {
	t.Helper()
	p := server.StartT(t, server.Options{EtcdMode: true, Args: append([]string{"--bcrypt-cost", "4"}, args...)})
	ctx, nobody := deadline(t), newClient(t, p)
	_, err := nobody.UserAdd(ctx, "root", "rootpw")
	require.NoError(t, err)
	_, err = nobody.UserGrantRole(ctx, "root", "root")
	require.NoError(t, err)
	_, err = nobody.AuthEnable(ctx)
	require.NoError(t, err)
	return p, asUser(t, p, "root", "rootpw")
}

// addUser makes a user whose only role has a permission on a prefix.
func addUser(t *testing.T, root *clientv3.Client, name, prefix string, allows clientv3.PermissionType) {
	t.Helper()
	ctx := deadline(t)
	_, err := root.UserAdd(ctx, name, name+"pw")
	require.NoError(t, err)
	_, err = root.RoleAdd(ctx, name+"-role")
	require.NoError(t, err)
	_, err = root.RoleGrantPermission(ctx, name+"-role", prefix, clientv3.GetPrefixRangeEnd(prefix), allows)
	require.NoError(t, err)
	_, err = root.UserGrantRole(ctx, name, name+"-role")
	require.NoError(t, err)
}

func TestAuthOfKeys(t *testing.T) {
	t.Parallel()
	p, root := startAuth(t)
	ctx := deadline(t)
	addUser(t, root, "u", "u/", clientv3.PermissionType(clientv3.PermReadWrite))
	u := asUser(t, p, "u", "upw")

	_, err := u.Put(ctx, "u/a", "1")
	require.NoError(t, err)
	_, err = u.Put(ctx, "v/a", "1")
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = u.Get(ctx, "u/", clientv3.WithPrefix(), clientv3.WithSerializable())
	require.NoError(t, err)
	_, err = u.Get(ctx, "u/", clientv3.WithFromKey())
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = u.Txn(ctx).If(clientv3.Compare(clientv3.Value("v/a"), "=", "1")).Then(clientv3.OpGet("u/a")).Commit()
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = newClient(t, p).Get(ctx, "u/a")
	require.ErrorIs(t, err, rpctypes.ErrUserEmpty)
	_, err = u.Compact(ctx, 2)
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = u.UserList(ctx)
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = clientv3.New(clientv3.Config{
		Endpoints: []string{p.Endpoint()}, DialTimeout: patience, Logger: zap.NewNop(), Username: "u", Password: "wrong",
	})
	require.ErrorIs(t, err, rpctypes.ErrAuthFailed)

	// What a role may do counts from the next request on.
	_, err = root.RoleRevokePermission(ctx, "u-role", "u/", clientv3.GetPrefixRangeEnd("u/"))
	require.NoError(t, err)
	_, err = u.Get(ctx, "u/a")
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	status, err := u.AuthStatus(ctx)
	require.NoError(t, err)
	require.True(t, status.Enabled)
}

// TestAuthOfWatches begins to watch what is then revoked.
func TestAuthOfWatches(t *testing.T) {
	t.Parallel()
	p, root := startAuth(t)
	ctx := deadline(t)
	addUser(t, root, "u", "u/", clientv3.PermissionType(clientv3.PermRead))
	u := asUser(t, p, "u", "upw")

	denied := <-u.Watch(ctx, "v/a")
	require.True(t, denied.Canceled)
	require.ErrorContains(t, denied.Err(), "etcdserver: permission denied")
	watching := u.Watch(ctx, "u/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	require.True(t, (<-watching).Created)
	_, err := root.UserRevokeRole(ctx, "u", "u-role")
	require.NoError(t, err)
	_, err = root.Put(ctx, "u/a", "1")
	require.NoError(t, err)
	require.Equal(t, "u/a", string((<-watching).Events[0].Kv.Key))
	refused := <-u.Watch(ctx, "u/", clientv3.WithPrefix())
	require.ErrorContains(t, refused.Err(), "etcdserver: permission denied")
}

// TestAuthOfLeases wants the right to write all keys of a lease.
func TestAuthOfLeases(t *testing.T) {
	t.Parallel()
	p, root := startAuth(t)
	ctx := deadline(t)
	addUser(t, root, "u", "u/", clientv3.PermissionType(clientv3.PermReadWrite))
	u := asUser(t, p, "u", "upw")
	lease, err := u.Grant(ctx, 600)
	require.NoError(t, err)
	_, err = u.Put(ctx, "u/a", "1", clientv3.WithLease(lease.ID))
	require.NoError(t, err)
	_, err = u.KeepAliveOnce(ctx, lease.ID)
	require.NoError(t, err)
	_, err = root.Put(ctx, "v/a", "1", clientv3.WithLease(lease.ID))
	require.NoError(t, err)
	_, err = u.Put(ctx, "u/b", "1", clientv3.WithLease(lease.ID))
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = u.Revoke(ctx, lease.ID)
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = u.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = u.KeepAliveOnce(ctx, lease.ID)
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = newClient(t, p).Grant(ctx, 600)
	require.ErrorIs(t, err, rpctypes.ErrUserEmpty)
}

// TestAuthRenewsTokens lets a token end by itself, and by a change of the password.
func TestAuthRenewsTokens(t *testing.T) {
	t.Parallel()
	p, root := startAuth(t, "--auth-token-ttl", "1")
	ctx := deadline(t)
	addUser(t, root, "u", "u/", clientv3.PermissionType(clientv3.PermReadWrite))
	u, raw := asUser(t, p, "u", "upw"), newClient(t, p)
	login, err := raw.Authenticate(ctx, "u", "upw")
	require.NoError(t, err)
	require.Regexp(t, `^[a-zA-Z]{16}\.\d+$`, login.Token)
	shown := metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, login.Token)
	_, err = raw.Put(shown, "u/a", "1")
	require.NoError(t, err)
	require.Eventually(t, func() bool { // each look gives it another second
		_, err := raw.Put(shown, "u/a", "2")
		return errors.Is(err, rpctypes.ErrInvalidAuthToken)
	}, patience, 3*time.Second)
	_, err = u.Put(ctx, "u/a", "3") // the client logs in again
	require.NoError(t, err)

	_, err = root.UserChangePassword(ctx, "u", "other")
	require.NoError(t, err)
	_, err = u.Put(ctx, "u/a", "4")
	require.ErrorIs(t, err, rpctypes.ErrAuthFailed)
	_, err = asUser(t, p, "u", "other").Put(ctx, "u/a", "5")
	require.NoError(t, err)
}

// TestAuthOfLocks takes locks with rights on their keys alone.
func TestAuthOfLocks(t *testing.T) {
	t.Parallel()
	p, root := startAuth(t)
	ctx := deadline(t)
	addUser(t, root, "u", "u/", clientv3.PermissionType(clientv3.PermReadWrite))
	session, err := concurrency.NewSession(asUser(t, p, "u", "upw"))
	require.NoError(t, err)
	require.NoError(t, concurrency.NewMutex(session, "u/lock").Lock(ctx))
	require.ErrorIs(t, concurrency.NewMutex(session, "v/lock").Lock(ctx), rpctypes.ErrPermissionDenied)
	require.NoError(t, session.Close())
}

// TestAuthSurvivesARestart wants another login after it: tokens live in memory.
func TestAuthSurvivesARestart(t *testing.T) {
	t.Parallel()
	p, root := startAuth(t)
	_, err := root.Put(context.Background(), "a", "1")
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	require.NoError(t, p.Restart(deadline(t)))
	ctx := deadline(t)
	got, err := root.Get(ctx, "a") // the client logs in again
	require.NoError(t, err)
	require.Equal(t, "1", string(got.Kvs[0].Value))
	_, err = newClient(t, p).Get(ctx, "a")
	require.ErrorIs(t, err, rpctypes.ErrUserEmpty)
}

// TestAuthByJWT shows tokens that hold the revision of users and roles: they end with
// the next change of those.
func TestAuthByJWT(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	dir := t.TempDir()
	for file, block := range map[string]*pem.Block{
		"key.pem": {Type: "EC PRIVATE KEY", Bytes: private}, "pub.pem": {Type: "PUBLIC KEY", Bytes: public},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600))
	}
	p, root := startAuth(t, "--auth-token", fmt.Sprintf("jwt,pub-key=%s,priv-key=%s,sign-method=ES256,ttl=5m",
		filepath.Join(dir, "pub.pem"), filepath.Join(dir, "key.pem")))
	ctx, raw := deadline(t), newClient(t, p)
	login, err := raw.Authenticate(ctx, "root", "rootpw")
	require.NoError(t, err)
	parts := strings.Split(login.Token, ".")
	require.Len(t, parts, 3)
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var claimed struct {
		Username string
		Revision uint64
		Exp      int64
	}
	require.NoError(t, json.Unmarshal(claims, &claimed))
	require.Equal(t, "root", claimed.Username)
	require.EqualValues(t, 3, claimed.Revision)
	require.InDelta(t, time.Now().Add(5*time.Minute).Unix(), claimed.Exp, 30)

	shown := metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameSwagger, "Bearer "+login.Token)
	_, err = raw.Put(shown, "a", "1")
	require.NoError(t, err)
	forged := metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, strings.Join([]string{parts[0], parts[1], "AAAA"}, "."))
	_, err = raw.Put(forged, "a", "2")
	require.ErrorIs(t, err, rpctypes.ErrInvalidAuthToken)
	_, err = root.RoleAdd(ctx, "r")
	require.NoError(t, err)
	_, err = raw.Get(shown, "a")
	require.ErrorIs(t, err, rpctypes.ErrAuthOldRevision)
	_, err = raw.Put(shown, "a", "2")
	require.ErrorIs(t, err, rpctypes.ErrAuthOldRevision)
	refused := <-raw.Watch(shown, "a")
	require.ErrorContains(t, refused.Err(), "etcdserver: revision of auth store is old")
	_, err = root.Put(ctx, "a", "3") // its client logs in again
	require.NoError(t, err)
}
