# SPDX-License-Identifier: Apache-2.0
"""Wire shapes (API JSON, YAML) parsed into the model, once."""
