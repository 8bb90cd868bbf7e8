// An OTLP server that does what a Collector cannot be configured to do.
//
//	server CERTIFICATES
//
// The directory has ca.crt, server.crt and server.key. It serves gRPC and HTTP on port 8317, and by frames on 9317. Each
// line of its standard input is a fault from then on, and it ends with the input. It prints `listening`, then a line of
// JSON for each export that it accepts:
//
//	{"service": "ours-grpc", "numbers": [3, 4]}
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What the server does instead of accepting each export.
type fault struct {
	name string
	// Named by a refusal, if not 0
	delay time.Duration
}

const (
	accept  = "accept"
	goAway  = "goaway"  // accept, and announce the end of the connection with each third answer
	refuse  = "refuse"  // refuse the stream: only on the port by frames
	silent  = "silent"  // never answer
	html    = "html"    // answer with a page
	garbage = "garbage" // answer with a status, or a message, that is none
	partial = "partial" // reject the first half of the spans
	// Followed by the delay to name, in seconds
	unavailable = "unavailable"
	exhausted   = "exhausted"
)

type server struct {
	otlp.UnimplementedTraceServiceServer
	fault  atomic.Pointer[fault]
	stdout sync.Mutex
	grpc   *grpc.Server
}

// Accepts an export, whole or in part, or refuses it.
func (s *server) Export(_ context.Context, request *otlp.ExportTraceServiceRequest) (*otlp.ExportTraceServiceResponse, error) {
	fault := s.fault.Load()
	switch fault.name {
	case unavailable:
		return nil, refusal(codes.Unavailable, fault.delay)
	case exhausted:
		return nil, refusal(codes.ResourceExhausted, fault.delay)
	}
	response := &otlp.ExportTraceServiceResponse{}
	service, numbers, err := read(request)
	if err != nil {
		return nil, err
	}
	if fault.name == partial {
		rejected := len(numbers) / 2
		numbers = numbers[rejected:]
		response.PartialSuccess = &otlp.ExportTracePartialSuccess{RejectedSpans: int64(rejected), ErrorMessage: "rejected"}
	}
	s.stdout.Lock()
	defer s.stdout.Unlock()
	return response, json.NewEncoder(os.Stdout).Encode(map[string]any{"service": service, "numbers": numbers})
}

// The service.name of an export, and the names of its spans, which are numbers.
func read(request *otlp.ExportTraceServiceRequest) (service string, numbers []int, err error) {
	for _, ofResource := range request.ResourceSpans {
		for _, attribute := range ofResource.Resource.Attributes {
			if attribute.Key == "service.name" {
				service = attribute.Value.GetStringValue()
			}
		}
		for _, scope := range ofResource.ScopeSpans {
			for _, span := range scope.Spans {
				number, err := strconv.Atoi(span.Name)
				if err != nil {
					return "", nil, err
				}
				numbers = append(numbers, number)
			}
		}
	}
	return service, numbers, nil
}

func refusal(code codes.Code, delay time.Duration) error {
	refusal := status.New(code, "refused")
	if delay > 0 {
		detailed, err := refusal.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
		if err != nil {
			return err
		}
		refusal = detailed
	}
	return refusal.Err()
}

// The key of the number of a connection's requests
type requests struct{}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isGRPC := strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
	number := r.Context().Value(requests{}).(*atomic.Int64).Add(1)
	switch s.fault.Load().name {
	case silent:
		<-r.Context().Done()
		return
	case html:
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>Sign in</title>")
		return
	case garbage:
		io.Copy(io.Discard, r.Body)
		if isGRPC {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "fine")
			w.Write(make([]byte, 5))
		} else {
			w.Header().Set("Content-Type", "application/x-protobuf")
			w.Write([]byte{0xff})
		}
		return
	case goAway:
		if number%3 == 0 {
			w.Header().Set("Connection", "close")
		}
	}
	if isGRPC {
		s.grpc.ServeHTTP(w, r)
	} else {
		s.serveHTTP(w, r)
	}
}

func (s *server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	request := &otlp.ExportTraceServiceRequest{}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer proto.Message
	answer, err = s.Export(r.Context(), request)
	code := http.StatusOK
	if err != nil {
		refusal := status.Convert(err)
		answer = refusal.Proto()
		code = map[codes.Code]int{
			codes.Unavailable:       http.StatusServiceUnavailable,
			codes.ResourceExhausted: http.StatusTooManyRequests,
		}[refusal.Code()]
		for _, detail := range refusal.Details() {
			seconds := detail.(*errdetails.RetryInfo).RetryDelay.Seconds
			w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		}
	}
	encoded, err := proto.Marshal(answer)
	if err != nil {
		log.Fatal(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(code)
	w.Write(encoded)
}

// Sets the fault by the lines of the standard input.
func (s *server) obey() error {
	for {
		var line fault
		var seconds int
		if _, err := fmt.Scanln(&line.name, &seconds); err != nil {
			return err
		}
		line.delay = time.Duration(seconds) * time.Second
		s.fault.Store(&line)
	}
}

func tlsConfig(certificates string) (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(certificates, "server.crt"), filepath.Join(certificates, "server.key"))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(certificates, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"h2"},
	}, nil
}

func run() error {
	config, err := tlsConfig(os.Args[1])
	if err != nil {
		return err
	}
	s := &server{grpc: grpc.NewServer()}
	s.fault.Store(&fault{name: accept})
	otlp.RegisterTraceServiceServer(s.grpc, s)
	byFrames, err := tls.Listen("tcp4", ":9317", config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", ":8317")
	if err != nil {
		return err
	}
	served := http.Server{
		Handler:   s,
		TLSConfig: config,
		ErrorLog:  log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, requests{}, &atomic.Int64{})
		},
	}
	go served.ServeTLS(listener, "", "")
	go s.serveByFrames(byFrames)
	fmt.Println("listening")
	if err := s.obey(); err != io.EOF {
		return err
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
