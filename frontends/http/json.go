package httpfront

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// jsonCodec is etcd's JSON: names as in the protobuf schema, zero values left out,
// unknown names in a request passed over. It takes any Content-Type.
type jsonCodec struct{ runtime.JSONPb }

func newJSONCodec() *jsonCodec {
	return &jsonCodec{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
	}}
}

// Marshal encodes a message, or one line of a stream, which the gateway gives as a
// map of one element.
func (c *jsonCodec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case proto.Message:
		return c.MarshalOptions.Marshal(v)
	case map[string]any:
		if m, ok := v["result"].(proto.Message); ok {
			line, err := c.MarshalAppend([]byte(`{"result":`), m)
			return append(line, '}'), err
		}
	case map[string]proto.Message:
		if s, ok := v["error"].(*spb.Status); ok {
			return streamError(status.FromProto(s)), nil
		}
	}
	return c.JSONPb.Marshal(v)
}

// NewDecoder decodes the messages of a request's body.
func (c *jsonCodec) NewDecoder(r io.Reader) runtime.Decoder {
	decode := c.JSONPb.NewDecoder(r).Decode
	body, ok := r.(*requestBody)
	if !ok {
		return runtime.DecoderFunc(decode)
	}
	if body.fail == nil {
		return runtime.DecoderFunc(decode)
	}
	return runtime.DecoderFunc(func(v any) error {
		body.next()
		err := decode(v)
		if err != nil && !errors.Is(err, io.EOF) {
			// The gateway takes it for the end of the requests, and the client would
			// wait for a reply to something that nobody understood.
			cause := err
			if body.refused == nil {
				cause = status.Error(codes.InvalidArgument, err.Error())
			}
			body.fail(cause)
		}
		return err
	})
}

// writeError answers a request that failed, with an error that clients of either
// version of the gateway understand: etcd up to 3.5 had "error", 3.6 "details".
func writeError(
	_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error,
) {
	var routing *runtime.HTTPStatusError
	if errors.As(err, &routing) {
		err = routing.Err
	}
	s := status.Convert(err)
	code := runtime.HTTPStatusFromCode(s.Code())
	if routing != nil {
		code = routing.HTTPStatus
	}
	if body, ok := r.Body.(*requestBody); ok {
		isStream := body.fail != nil // then it may still be read
		if !isStream && body.refused != nil {
			s, code = status.Convert(body.refused), body.status
		}
		if isStream || body.refused != nil {
			w.Header().Set("Connection", "close") // what is left of the body is not worth reading
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if s.Code() == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", s.Message())
	}
	w.WriteHeader(code)
	_, _ = w.Write(encodeJSON(struct { // the client is gone; nothing to do
		Error   string     `json:"error"`
		Message string     `json:"message"`
		Code    codes.Code `json:"code"`
		Details []struct{} `json:"details"`
	}{s.Message(), s.Message(), s.Code(), []struct{}{}}))
}

// streamError is the line that ends a stream which failed. The first version of the
// gateway had grpc_code, http_code and http_status, the second has code and details.
func streamError(s *status.Status) []byte {
	type body struct {
		Code       codes.Code `json:"code"`
		GRPCCode   codes.Code `json:"grpc_code"`
		HTTPCode   int        `json:"http_code"`
		HTTPStatus string     `json:"http_status"`
		Message    string     `json:"message"`
		Details    []struct{} `json:"details"`
	}
	httpCode := runtime.HTTPStatusFromCode(s.Code())
	return encodeJSON(struct {
		Error body `json:"error"`
	}{body{s.Code(), s.Code(), httpCode, http.StatusText(httpCode), s.Message(), []struct{}{}}})
}

// encodeJSON encodes one of the bodies above, and leaves <, > and & as they are.
func encodeJSON(v any) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings and numbers
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
