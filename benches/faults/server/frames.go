package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"strings"

	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// A request as far as it has arrived.
type stream struct {
	isGRPC bool
	body   []byte
}

// Serves HTTP/2 frame by frame: net/http's server cannot refuse a stream.
func (s *server) serveByFrames(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			// It ends as the client ends it.
			_ = s.serveConnection(connection)
		}()
	}
}

func (s *server) serveConnection(connection net.Conn) error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(connection, preface); err != nil {
		return err
	}
	framer := http2.NewFramer(connection, connection)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	// More than a run sends
	const window = 1 << 30
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		return err
	}
	if err := framer.WriteWindowUpdate(0, window); err != nil {
		return err
	}
	streams := map[uint32]*stream{}
	for {
		read, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := read.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = framer.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			if s.fault.Load().name == refuse {
				err = framer.WriteRSTStream(frame.StreamID, http2.ErrCodeRefusedStream)
				break
			}
			isGRPC := false
			for _, field := range frame.RegularFields() {
				isGRPC = isGRPC || field.Name == "content-type" && strings.HasPrefix(field.Value, "application/grpc")
			}
			streams[frame.StreamID] = &stream{isGRPC: isGRPC}
		case *http2.DataFrame:
			stream, isKnown := streams[frame.StreamID]
			if !isKnown {
				break
			}
			stream.body = append(stream.body, frame.Data()...)
			if frame.StreamEnded() {
				delete(streams, frame.StreamID)
				err = s.answer(framer, frame.StreamID, stream)
			}
		}
		if err != nil {
			return err
		}
	}
}

// Accepts a request.
func (s *server) answer(framer *http2.Framer, id uint32, stream *stream) error {
	message := stream.body
	if stream.isGRPC {
		if len(message) < 5 || message[0] != 0 {
			return fmt.Errorf("no message, or a compressed one: % x", message)
		}
		message = message[5:]
	}
	request := &otlp.ExportTraceServiceRequest{}
	if err := proto.Unmarshal(message, request); err != nil {
		return err
	}
	response, err := s.Export(context.Background(), request)
	if err != nil {
		return err
	}
	body, err := proto.Marshal(response)
	if err != nil {
		return err
	}
	contentType := "application/x-protobuf"
	if stream.isGRPC {
		contentType = "application/grpc"
		body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	}
	// One encoder for one block, which leaves nothing in the dynamic table that a later block could refer to
	block := func(isLast bool, fields ...hpack.HeaderField) error {
		var encoded bytes.Buffer
		encoder := hpack.NewEncoder(&encoded)
		for _, field := range fields {
			field.Sensitive = true
			if err := encoder.WriteField(field); err != nil {
				return err
			}
		}
		return framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: encoded.Bytes(), EndHeaders: true, EndStream: isLast,
		})
	}
	head := []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "content-type", Value: contentType}}
	if err := block(false, head...); err != nil {
		return err
	}
	if err := framer.WriteData(id, !stream.isGRPC, body); err != nil || !stream.isGRPC {
		return err
	}
	return block(true, hpack.HeaderField{Name: "grpc-status", Value: "0"})
}
