package zkserver

import (
	"context"
	"testing"
)

// StartT starts a server for one test and stops it when the test ends. If the
// test has failed by then, the end of the server's log is added to the test's.
func StartT(t testing.TB, o Options) *Process {
	t.Helper()
	p, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of zookeeper:\n%s", p.LogTail())
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}
