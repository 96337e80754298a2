package httpfront

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
)

// versions is the body of /version, in etcd's order.
type versions struct {
	Server  string `json:"etcdserver"`
	Cluster string `json:"etcdcluster"`
	Storage string `json:"storage"`
}

func (f *Front) serveVersion(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	cluster := cmp.Or(f.cfg.Cluster.Status().ClusterVersion, minorVersion(f.cfg.Version))
	body, err := json.Marshal(versions{Server: f.cfg.Version, Cluster: cluster, Storage: cluster})
	if err != nil {
		panic(err) // three strings
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the client is gone; nothing to do
}

// minorVersion is the first release of v's minor version: "3.7.3" gives "3.7.0".
// That is how etcd writes the versions of a cluster and of a store.
func minorVersion(v string) string {
	parts := strings.SplitN(v, ".", 3)
	if len(parts) < 3 {
		return v
	}
	return parts[0] + "." + parts[1] + ".0"
}
