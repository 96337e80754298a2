package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// httpWorker is a client of the JSON gateway, of one member, without any library.
type httpWorker struct {
	*worker
	url string
}

// run makes requests until the context ends.
func (w *httpWorker) run(ctx context.Context) {
	for ctx.Err() == nil {
		r := Request{Key: mount + w.znode(), Call: Get}
		switch w.random.IntN(5) {
		case 0, 1:
			r.Call, r.Value = Put, w.value()
		case 2:
			r.Call = Remove
		}
		called := w.rec.now()
		call, cancel := context.WithTimeout(context.Background(), callTimeout) // an answer under way is waited for
		a, err := w.do(call, r)
		cancel()
		if err != nil {
			a = Answer{Outcome: Unknown}
		}
		w.note(called, r, a)
		w.think(ctx)
	}
}

// number is an int64 as the gateway writes it; zero if it is left out.
type number string

func (n number) value() int64 {
	v, _ := strconv.ParseInt(string(n), 10, 64) // "" is zero
	return v
}

func (w *httpWorker) do(ctx context.Context, r Request) (Answer, error) {
	body := map[string]string{"key": base64.StdEncoding.EncodeToString([]byte(r.Key))}
	path := "range"
	switch r.Call {
	case Put:
		path, body["value"] = "put", base64.StdEncoding.EncodeToString([]byte(r.Value))
	case Remove:
		path = "deleterange"
	}
	var resp struct {
		Header struct {
			Revision number `json:"revision"`
		} `json:"header"`
		Deleted number `json:"deleted"`
		Kvs     []struct {
			Value   []byte `json:"value"`
			ModRev  number `json:"mod_revision"`
			Version number `json:"version"`
		} `json:"kvs"`
	}
	if err := w.post(ctx, path, body, &resp); err != nil {
		return Answer{}, err
	}
	switch {
	case r.Call == Get && len(resp.Kvs) > 0:
		kv := resp.Kvs[0]
		return Answer{Done, Row{string(kv.Value), kv.ModRev.value(), kv.Version.value() - 1}}, nil
	case r.Call == Get, r.Call == Remove && resp.Deleted.value() == 0:
		return Answer{Outcome: Missing}, nil
	}
	return Answer{Done, Row{Rev: resp.Header.Revision.value(), Version: unknownNumber}}, nil
}

// post makes a request of its own connection: nothing is tried twice.
func (w *httpWorker) post(ctx context.Context, path string, body, resp any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v3/kv/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	text, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d: %s", path, response.StatusCode, text)
	}
	return json.Unmarshal(text, resp)
}
