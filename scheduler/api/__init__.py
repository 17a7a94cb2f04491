"""What clients reach over HTTP: Thrift, JSON, dumps for operators, pages."""
